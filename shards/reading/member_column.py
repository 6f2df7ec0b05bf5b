"""One member of all samples of a batch: where its bytes lie, what they are, and where they go.

Owns the memory of members that are no tensors. Reading is `shards.reading.rows`' and `shards.reading.native_rows`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np

from shards.contract.schema import Field
from shards.reading.gather import Places


class MemberRoom(Sequence[memoryview]):
    """Bytes of b samples, one behind the other in one piece of memory; who keeps one of them keeps all."""

    def __init__(self, lengths: np.ndarray) -> None:
        self._lengths = lengths  # i64 [b]
        self._ends: list[int] = []  # when somebody asks
        self.memory = np.empty(int(lengths.sum()), np.uint8)  # [sum of lengths]

    def __len__(self) -> int:
        return len(self._lengths)

    @overload
    def __getitem__(self, place: int) -> memoryview: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[memoryview]: ...
    def __getitem__(self, place: int | slice) -> memoryview | Sequence[memoryview]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        ends = self._ends or np.cumsum(self._lengths).tolist()
        self._ends = ends
        return self.memory.data[ends[place - 1] if place else 0 : ends[place]]


class MemberColumn(NamedTuple):
    """See the module; everything has a value for each sample."""

    place: int  # of the member in a record
    field: Field
    places: Places
    targets: Sequence[memoryview]
    memory: np.ndarray  # that the targets are of, from the first on without gaps

    def ends(self) -> list[int]:
        """Where the bytes end in the tar."""
        return (self.places.starts + self.places.lengths).tolist()


def rows_column(
    place: int, field: Field, places: Places, array: np.ndarray, rows: Sequence[memoryview]
) -> MemberColumn:
    """Of rows that become those of an array."""
    return MemberColumn(place, field, places, rows, array)


def whole_column(place: int, field: Field, places: Places) -> MemberColumn:
    """Of whole members, in memory of their own."""
    lengths = places.lengths
    room = MemberRoom(np.full_like(places.starts, lengths) if isinstance(lengths, int) else lengths)
    return MemberColumn(place, field, places, room, room.memory)
