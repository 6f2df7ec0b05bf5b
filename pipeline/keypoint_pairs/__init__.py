"""Pairs of pictures with the same places marked in both, as matches between pictures are judged by.

Owns what a pair is. One module a dataset, found by its name, with `build(**options)`, which gives the pairs in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Point = tuple[float, float]


@dataclass(frozen=True)
class KeypointPair:
    """Two pictures of one kind of thing.

    Attributes:
        source, target: files.
        category: of what is shown.
        source_px, target_px: (height, width).
        source_points_px, target_points_px: (x, y) of the same places, one by one.
        target_box_px: (x0, y0, x1, y1) of the thing in the target.
    """

    source: Path
    target: Path
    category: str
    source_px: tuple[int, int]
    target_px: tuple[int, int]
    source_points_px: tuple[Point, ...]
    target_points_px: tuple[Point, ...]
    target_box_px: tuple[float, float, float, float]


class KeypointPairs(Protocol):
    """A dataset: its pairs, those of a category beside each other."""

    def pairs(self) -> Sequence[KeypointPair]: ...

    @property
    def identity(self) -> str:
        """Of what is read, and from which files: two that agree give the same pairs."""
        ...
