"""How many samples each shard has: a sequence as a tuple is, of an array that is not copied into one.

Of a set of 10^7 records a tuple takes longer to make, and to make an array of again, than a batch takes to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np


class Counts(Sequence[int]):
    """S numbers, equal to any sequence of the same ones.

    Args:
        array: i64 [S], which nobody changes.
        ends: their running total, if it is at hand.
    """

    __slots__ = ("_ends", "array")

    def __init__(self, array: np.ndarray, ends: np.ndarray | None = None) -> None:
        self.array, self._ends = array, ends

    @property
    def ends(self) -> np.ndarray:
        """Their running total, i64 [S]."""
        if self._ends is None:
            self._ends = np.cumsum(self.array)
        return self._ends

    @staticmethod
    def of(numbers: Sequence[int]) -> Counts:
        """These numbers."""
        return numbers if isinstance(numbers, Counts) else Counts(np.array(numbers, np.int64))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Counts: ...
    def __getitem__(self, index: int | slice) -> int | Counts:
        if isinstance(index, slice):
            part = self.array[index]
            return self if part.shape == self.array.shape and part.strides == self.array.strides else Counts(part)
        return int(self.array[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Counts):
            return other is self or np.array_equal(self.array, other.array)
        return tuple(self.array.tolist()) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.array.tolist()))

    def __repr__(self) -> str:
        return repr(tuple(self.array.tolist()))
