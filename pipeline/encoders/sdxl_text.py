"""SDXL's two CLIP text models: the plug-in `sdxl_text`, sentences -> token ids -> states that carry the pooled text.

Owns its settings. Sizes are `_words.facts`', the networks `_words.sdxl`'s, which is imported when one is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pipeline.encoders import TextEncoder, TextFacts
from pipeline.encoders._words.facts import sdxl_facts
from shards.models.libraries import undisturbed

LENGTH = 77  # tokens per sentence, as SDXL was trained


def build(
    model: str,
    revision: str | None = None,
    length: int = LENGTH,
    dtype: Literal["float32", "float16"] = "float32",
    device: str = "cpu",
) -> TextEncoder:
    """Load both tokenizers and text models.

    Args:
        model: hub id or diffusers folder of a whole SDXL model.
        revision: branch, tag or commit of a hub model.
        length: tokens per sentence.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit the model.
    """
    with undisturbed():
        from pipeline.encoders._words.sdxl import load

    return load(model, revision, length=length, dtype=dtype, device=device)


def describe(model: str, revision: str | None = None, length: int = LENGTH, **other: Any) -> TextFacts:
    """What the configs of both text models say; other options of `build` change nothing here.

    Raises:
        ConfigError: no such text models there, or ones with fewer positions than `length`.
    """
    return sdxl_facts("sdxl_text", model, revision, length)


def cut_counter(
    model: str, revision: str | None = None, length: int = LENGTH, **other: Any
) -> Callable[[Sequence[str]], int] | None:
    """Counts the sentences that `build`'s encoder would cut; None if the tokenizer is not on this machine."""
    from pipeline.encoders.clip_text.counting import local_counter

    return local_counter(model, revision, length)
