"""FLUX.1's T5 and CLIP: the plug-in `flux_text`, sentences -> token ids -> states that carry the pooled text.

Owns its settings. Sizes are `_words.facts`', the networks `_words.flux`'s, which is imported when one is built.
"""

from __future__ import annotations

from typing import Any, Literal

from pipeline.encoders import TextEncoder, TextFacts
from pipeline.encoders._words.facts import flux_facts
from shards.models.libraries import undisturbed

LENGTH = 512  # tokens per sentence, as FLUX.1 was trained


def build(
    model: str,
    revision: str | None = None,
    length: int = LENGTH,
    dtype: Literal["float32", "float16"] = "float32",
    device: str = "cpu",
) -> TextEncoder:
    """Load tokenizers and text models.

    Args:
        model: hub id or diffusers folder of a whole FLUX.1 model.
        revision: branch, tag or commit of a hub model.
        length: tokens per sentence.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit the model.
    """
    with undisturbed():
        from pipeline.encoders._words.flux import load

    return load(model, revision, length=length, dtype=dtype, device=device)


def describe(model: str, revision: str | None = None, length: int = LENGTH, **other: Any) -> TextFacts:
    """What the configs of the text models say; other options of `build` change nothing here.

    Raises:
        ConfigError: no such text models there, or a CLIP with fewer positions than it gets tokens.
    """
    return flux_facts("flux_text", model, revision, length)
