"""CLIP's text model: the plug-in `clip_text`, sentences -> token ids -> last hidden states.

Owns its settings. What is known without weights is `facts`' and `counting`'s, the network `encoder`'s, the tokenizer
`tokenizer`'s; the last two are imported when one is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pipeline.encoders import TextEncoder, TextFacts
from pipeline.encoders.clip_text.facts import read_facts
from shards.errors import ConfigError
from shards.models.libraries import undisturbed

DTYPES = ("float32", "float16")
LENGTH = 40  # tokens per sentence


def build(
    model: str,
    revision: str | None = None,
    length: int = LENGTH,
    dtype: Literal["float32", "float16"] = "float32",
    device: str = "cpu",
    compiled: bool = False,
) -> TextEncoder:
    """Load tokenizer and text model.

    Args:
        model: hub id, diffusers folder, or a folder or hub id that is itself text model and tokenizer.
        revision: branch, tag or commit of a hub model.
        length: tokens per sentence; published values are 40 for RefCOCO and RefCOCO+, 77 for RefCOCOg.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.
        compiled: compile the network: other bits, so other sets, and faster on a GPU.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit the model.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"clip_text: dtype is {dtype!r}, expected float32 or float16")
    with undisturbed():
        from pipeline.encoders.clip_text.encoder import load

    return load(model, revision, length=length, dtype=dtype, device=device, compiled=compiled)


def describe(model: str, revision: str | None = None, length: int = LENGTH, **other: Any) -> TextFacts:
    """What `text_encoder/config.json` says; other options of `build` change nothing here.

    Raises:
        ConfigError: no text model there, or one with fewer positions than `length`.
    """
    return read_facts(model, revision, length)


def cut_counter(
    model: str, revision: str | None = None, length: int = LENGTH, **other: Any
) -> Callable[[Sequence[str]], int] | None:
    """Counts the sentences that `build`'s encoder would cut; None if the tokenizer is not on this machine."""
    from pipeline.encoders.clip_text.counting import local_counter

    return local_counter(model, revision, length)
