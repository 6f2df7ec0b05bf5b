"""Sizes of the text encoders of this room, from the configs of a model's parts: no weights, no torch.

Owns also how many tokens a text may have, so that a setting is refused by the same words before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.encoders import TextFacts
from pipeline.encoders._configs import number
from pipeline.encoders.clip_text.facts import check_length
from shards.errors import ConfigError
from shards.models.parts import find_config

LEAST_TOKENS = 3  # of a text: start, one word and end
CLIP_TOKENS = 77  # that a CLIP of these families reads at most
SDXL_WIDTHS = (768, 1280, 1280)  # of both CLIPs' states, and of the second one's pooled text
T5_WIDTH = 4096  # of T5-XXL, which the others read
SD3_POOLED, FLUX_POOLED = 768 + 1280, 768  # of both projections of SD 3's CLIPs; of FLUX's CLIP


def sdxl_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a model; of a hub model that is not cached, the sizes of SDXL.

    Raises:
        ConfigError: no two CLIP text models there, or ones with fewer positions than `length`.
    """
    check_tokens(name, length)
    configs = [_clip(name, model, revision, part) for part in ("text_encoder", "text_encoder_2")]
    first, second = configs
    if first is None or second is None:
        check_length(length, CLIP_TOKENS, name)
        return TextFacts(name, length, sum(SDXL_WIDTHS), _assumed("SDXL", model), carried_width=SDXL_WIDTHS[-1])
    for config in (first, second):
        check_length(length, number(name, model, config, "max_position_embeddings"), name)
    pooled = number(name, model, second, "projection_dim")
    states = sum(number(name, model, config, "hidden_size") for config in (first, second))
    return TextFacts(name, length, states + pooled, carried_width=pooled)


def pixart_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a PixArt-Sigma: T5's states and a mark. Assumed of a hub model that is not cached, as `sdxl_facts`.

    Raises:
        ConfigError: no text model there, or too few tokens.
    """
    check_tokens(name, length)
    config = find_config(name, model, "text_encoder", revision)
    if config is None:
        return TextFacts(name, length, T5_WIDTH + 1, _assumed("PixArt-Sigma", model), carried_width=1)
    return TextFacts(name, length, number(name, model, config, "d_model") + 1, carried_width=1)


def sd3_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a Stable Diffusion 3: states as wide as its transformer reads, and both CLIPs' pooled text.

    Raises:
        ConfigError: no such parts there, parts that do not belong together, or a `length` that does not fit them.
    """
    of_clip = sd3_clip_tokens(name, length)
    transformer = find_config(name, model, "transformer", revision)
    clips = [_clip(name, model, revision, part) for part in ("text_encoder", "text_encoder_2")]
    if transformer is None or None in clips:
        carried = SD3_POOLED
        return TextFacts(name, length, T5_WIDTH + carried, _assumed("Stable Diffusion 3", model), carried_width=carried)
    for part, clip in zip(("text_encoder", "text_encoder_2"), clips, strict=True):
        if clip is not None:
            check_share(name, of_clip, number(name, model, clip, "max_position_embeddings"), f"{part} of {model!r}")
    pooled = sum(number(name, model, clip, "projection_dim") for clip in clips if clip is not None)
    states = number(name, model, transformer, "joint_attention_dim")
    words = find_config(name, model, "text_encoder_3", revision) if has_t5(model) else None
    of_clips = sum(number(name, model, clip, "hidden_size") for clip in clips if clip is not None)
    check_widths(name, model, of_clips, None if words is None else number(name, model, words, "d_model"), states)
    return TextFacts(name, length, states + pooled, carried_width=pooled)


def flux_facts(name: str, model: str, revision: str | None, length: int) -> TextFacts:
    """Of a FLUX.1: T5's states and CLIP's pooled text.

    Raises:
        ConfigError: no such text models there, or a `length` that does not fit them.
    """
    check_tokens(name, length)
    words, clip = find_config(name, model, "text_encoder_2", revision), _clip(name, model, revision, "text_encoder")
    if words is None or clip is None:
        carried = FLUX_POOLED
        return TextFacts(name, length, T5_WIDTH + carried, _assumed("FLUX.1", model), carried_width=carried)
    positions = number(name, model, clip, "max_position_embeddings")
    check_share(name, flux_clip_tokens(length), positions, f"text_encoder of {model!r}")
    pooled = number(name, model, clip, "hidden_size")
    return TextFacts(name, length, number(name, model, words, "d_model") + pooled, carried_width=pooled)


def check_tokens(name: str, length: int) -> None:
    """ConfigError for texts without room for a word."""
    if length < LEAST_TOKENS:
        raise ConfigError(f"{name}: length is {length} tokens; expected {LEAST_TOKENS} at least.")


def sd3_clip_tokens(name: str, length: int) -> int:
    """How many of a text's tokens are the CLIPs'. ConfigError for texts without room for a word in each half."""
    if length < 2 * LEAST_TOKENS:
        raise ConfigError(
            f"{name}: length is {length} tokens; expected {2 * LEAST_TOKENS} at least, of which CLIP gets a half."
        )
    return min(CLIP_TOKENS, length // 2)


def flux_clip_tokens(length: int) -> int:
    """Of how many tokens FLUX.1's CLIP makes the pooled text."""
    return min(CLIP_TOKENS, length)


def check_share(name: str, tokens: int, positions: int, part: str) -> None:
    """ConfigError unless a CLIP has a position for every token that it gets."""
    if tokens > positions:
        raise ConfigError(
            f"{name}: {part} has {positions} positions and gets {tokens} tokens of a text; expected as many at least. "
            "Set a smaller length"
        )


def check_widths(name: str, model: str, clips: int, words: int | None, states: int) -> None:
    """ConfigError unless a context has room for both CLIPs' states side by side, and is as wide as T5's."""
    if clips > states:
        raise ConfigError(
            f"{name}: both CLIPs of {model!r} are {clips} wide together, its transformer reads {states}; they do not "
            "belong together"
        )
    if words not in (None, states):
        raise ConfigError(
            f"{name}: text_encoder_3 of {model!r} is {words} wide, its transformer reads {states}; they do not belong "
            "together"
        )


def has_t5(model: str) -> bool:
    """A folder may leave the third text model out, to save memory; a model of the hub has it, or it is an error."""
    folder = Path(model).expanduser()
    return not folder.is_dir() or (folder / "text_encoder_3").is_dir()


def _assumed(family: str, model: str) -> str:
    return f"text tokens of {family}: {model} is not in the local cache"


def _clip(name: str, model: str, revision: str | None, part: str) -> Mapping[str, Any] | None:
    config = find_config(name, model, part, revision)
    return None if config is None else config.get("text_config", config)
