"""Sizes of the text encoders of this room, from the configs of a model's parts: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.encoders import TextFacts
from pipeline.encoders._configs import number
from pipeline.encoders.clip_text.facts import check_length
from shards.models.parts import find_config

SDXL_WIDTHS = (768, 1280, 1280)  # of both CLIPs' states, and of the second one's pooled text
T5_WIDTH = 4096  # of T5-XXL, which the others read
SD3_POOLED, FLUX_POOLED = 768 + 1280, 768  # of both projections of SD 3's CLIPs; of FLUX's CLIP


def sdxl_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a model; of a hub model that is not cached, the sizes of SDXL.

    Raises:
        ConfigError: no two CLIP text models there, or ones with fewer positions than `length`.
    """
    configs = [_clip(name, model, revision, part) for part in ("text_encoder", "text_encoder_2")]
    first, second = configs
    if first is None or second is None:
        return TextFacts(name, length, sum(SDXL_WIDTHS), _assumed("SDXL", model), carried_width=SDXL_WIDTHS[-1])
    for config in (first, second):
        check_length(length, number(name, model, config, "max_position_embeddings"), name)
    pooled = number(name, model, second, "projection_dim")
    states = sum(number(name, model, config, "hidden_size") for config in (first, second))
    return TextFacts(name, length, states + pooled, carried_width=pooled)


def pixart_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a PixArt-Sigma: T5's states and a mark. Assumed of a hub model that is not cached, as `sdxl_facts`.

    Raises:
        ConfigError: no text model there.
    """
    config = find_config(name, model, "text_encoder", revision)
    if config is None:
        return TextFacts(name, length, T5_WIDTH + 1, _assumed("PixArt-Sigma", model), carried_width=1)
    return TextFacts(name, length, number(name, model, config, "d_model") + 1, carried_width=1)


def sd3_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a Stable Diffusion 3: states as wide as its transformer reads, and both CLIPs' pooled text.

    Raises:
        ConfigError: no such parts there.
    """
    transformer = find_config(name, model, "transformer", revision)
    clips = [_clip(name, model, revision, part) for part in ("text_encoder", "text_encoder_2")]
    if transformer is None or None in clips:
        carried = SD3_POOLED
        return TextFacts(name, length, T5_WIDTH + carried, _assumed("Stable Diffusion 3", model), carried_width=carried)
    pooled = sum(number(name, model, clip, "projection_dim") for clip in clips if clip is not None)
    states = number(name, model, transformer, "joint_attention_dim")
    return TextFacts(name, length, states + pooled, carried_width=pooled)


def flux_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a FLUX.1: T5's states and CLIP's pooled text.

    Raises:
        ConfigError: no such text models there.
    """
    words, clip = find_config(name, model, "text_encoder_2", revision), _clip(name, model, revision, "text_encoder")
    if words is None or clip is None:
        carried = FLUX_POOLED
        return TextFacts(name, length, T5_WIDTH + carried, _assumed("FLUX.1", model), carried_width=carried)
    pooled = number(name, model, clip, "hidden_size")
    return TextFacts(name, length, number(name, model, words, "d_model") + pooled, carried_width=pooled)


def _assumed(family: str, model: str) -> str:
    return f"text tokens of {family}: {model} is not in the local cache"


def _clip(name: str, model: str, revision: str | None, part: str) -> Mapping[str, Any] | None:
    config = find_config(name, model, part, revision)
    return None if config is None else config.get("text_config", config)
