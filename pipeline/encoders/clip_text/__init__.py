"""CLIP's text model: the plug-in `clip_text`, sentences -> token ids -> last hidden states.

Owns the settings and what is known of the encoder without weights. The network is `encoder`'s, the tokenizer
`tokenizer`'s; both are imported when one is built.
"""

from __future__ import annotations

from typing import Any

from pipeline.encoders import TextEncoder, TextFacts
from pipeline.encoders._configs import number, part_config
from pipeline.encoders.clip_text.limits import check_length
from shards.errors import ConfigError

DTYPES = ("float32", "float16")
LENGTH = 40  # tokens per sentence
SD1_WIDTH = 768  # of CLIP ViT-L/14, assumed where no config is at hand


def build(
    model: str,
    revision: str | None = None,
    length: int = LENGTH,
    dtype: str = "float32",
    device: str = "cpu",
) -> TextEncoder:
    """Load tokenizer and text model.

    Args:
        model: hub id, diffusers folder, or a folder or hub id that is itself text model and tokenizer.
        revision: branch, tag or commit of a hub model.
        length: tokens per sentence; published values are 40 for RefCOCO and RefCOCO+, 77 for RefCOCOg.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit the model.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"clip_text: dtype is {dtype!r}, expected float32 or float16")
    from pipeline.encoders.clip_text.encoder import load

    return load(model, revision, length=length, dtype=dtype, device=device)


def describe(model: str, revision: str | None = None, length: int = LENGTH, **other: Any) -> TextFacts:
    """What `text_encoder/config.json` says; other options of `build` change nothing here.

    Raises:
        ConfigError: no text model there, or one with fewer positions than `length`.
    """
    config = part_config("clip_text", model, "text_encoder", revision)
    if config is None:
        why = f"{SD1_WIDTH} wide as in Stable Diffusion 1: {model} is not in the local cache"
        return TextFacts("clip_text", length, SD1_WIDTH, f"text states {why}")
    config = config.get("text_config", config)  # of a model that is text and image encoder
    check_length(length, number("clip_text", model, config, "max_position_embeddings"))
    return TextFacts("clip_text", length, number("clip_text", model, config, "hidden_size"))
