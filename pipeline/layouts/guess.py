"""What was decided about a folder: options of a source, each with the reason that is written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Option:
    """One option of a source. `why` is what was seen, or what is only assumed."""

    value: Any
    why: str


@dataclass(frozen=True)
class Splits:
    """Names of the splits, and which of them are trained on and validated on; `val` is empty if none is left for it."""

    names: tuple[str, ...]
    train: str
    val: str
    why: str


@dataclass(frozen=True)
class Guess:
    """A folder as one source reads it.

    Attributes:
        source: name of the source.
        root: what its other options are relative to.
        options: in the order in which they are written.
        pictures: of the training split, as far as they were counted.
        size_px: (h, w) of the pictures that were looked at, in the middle.
        notes: what a person must know or decide, beyond single options.
        classes: number of classes; 0 where the task has none.
        max_depth_m: of depth; 0 elsewhere.
        words: of the longest sentence; 0 where there are none.
    """

    source: str
    root: Path
    options: Mapping[str, Option]
    splits: Splits
    pictures: int
    size_px: tuple[int, int]
    notes: tuple[str, ...] = ()
    classes: int = 0
    max_depth_m: float = 0.0
    words: int = 0


def options_of(*parts: Mapping[str, Option]) -> dict[str, Option]:
    """All of them, in order."""
    return {name: option for part in parts for name, option in part.items()}
