"""Reads the rows of a batch into their slots and checks them there: one read a sample, where its members lie together.

Owns what is read and the Python way to read it, which is also where every error comes from. The compiled way, which is
tried first, is `shards.reading.native_rows`'s. Which rows these are is planned in `shards.reading.gather`, buffers are
the stream's, and how several places of a file become one read is `shards.storage.open_files`'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import xxhash

from shards.contract.schema import META, Field
from shards.errors import CorruptShard
from shards.native.library import library
from shards.reading.gather import BatchPlan
from shards.reading.member_column import MemberColumn, rows_column, whole_column
from shards.reading.native_rows import n_read
from shards.reading.reader import ShardSet
from shards.storage.open_files import TarBytes, wasted


class RowReader:
    """Of some fields of a set; may be called from several threads."""

    def __init__(self, shards: ShardSet, fields: Sequence[Field]) -> None:
        self._places = {field.name: place for place, field in enumerate(shards.schema.fields)}  # in the tar
        self._shards, self._fields = shards, fields
        self._by_name = {field.name: field for field in shards.schema.fields}
        self._verify = shards.verify

    def read(
        self,
        plan: BatchPlan,
        sources: Sequence[TarBytes],
        arrays: Sequence[np.ndarray],
        slots: Sequence[Sequence[memoryview]],
        members: Collection[str] = (),
    ) -> dict[str, Sequence[memoryview]]:
        """Fill the rows of every field's array, whose bytes are its slots, one for each sample; and give the bytes of
        these members, which are no tensors, of each sample.

        With `verify` every row is hashed where it came to lie, and so is every meta, used or not: it says what the
        tensors are.

        Raises:
            CorruptShard: bytes have another hash than the index says.
        """
        columns = [
            rows_column(self._places[field.name], field, places, array, rows)
            for field, places, array, rows in zip(self._fields, plan.reads, arrays, slots, strict=True)
        ]
        held: dict[str, Sequence[memoryview]] = {}
        for name in {*members, META} if self._verify else members:
            column = whole_column(self._places[name], self._by_name[name], plan.members[name])
            columns.append(column)
            held[name] = column.targets
        columns.sort(key=attrgetter("place"))
        if not columns:
            return held
        native = library()
        if native is None or n_read(native, columns, sources, verify=self._verify) < len(sources):
            self._read_in_python(plan, sources, columns)
        return held

    def _read_in_python(self, plan: BatchPlan, sources: Sequence[TarBytes], columns: Sequence[MemberColumn]) -> None:
        """All samples, from the first on."""
        starts = [one.places.starts.tolist() for one in columns]
        ends = [one.ends() for one in columns]
        targets = [list(one.targets) for one in columns]
        hashes = [one.places.hashes.tolist() for one in columns]
        digest, verify = xxhash.xxh3_64_intdigest, self._verify
        runs = _runs(sources, starts, ends, targets) or _scattered(sources, starts, targets)
        for place, (row, wanted) in enumerate(zip(runs, zip(*hashes, strict=True), strict=True)):
            if verify and tuple(map(digest, row)) != wanted:
                number = next(k for k, expected in enumerate(wanted) if digest(row[k]) != expected)
                raise self._corrupt(plan, place, columns[number].field)

    def _corrupt(self, plan: BatchPlan, place: int, field: Field) -> CorruptShard:
        """The error of a sample's field."""
        on_axis = field.axis == self._shards.schema.item_axis
        return self._shards.corrupt(field, int(plan.records[place]), int(plan.rows[place]) if on_axis else 0)


def _runs(
    sources: Sequence[TarBytes],
    offsets: Sequence[Sequence[int]],
    ends: Sequence[Sequence[int]],
    targets: Sequence[Sequence[memoryview]],
) -> Iterator[Sequence[memoryview]] | None:
    """Every sample's rows, filled by one read each when they are asked for; None where they do not lie together."""
    columns = [targets[0]]
    for before, starts, target in zip(ends[:-1], offsets[1:], targets[1:], strict=True):
        between = wasted(before, starts)
        if between is None:
            return None
        columns += [between, target]
    reads = [source.run for source in sources]
    if not all(reads):
        return None
    return _filled(reads, zip(*columns, strict=False), offsets[0], ends[-1])


def _filled(
    reads: Sequence[Any], rows: Iterable[Sequence[memoryview]], starts: Sequence[int], ends: Sequence[int]
) -> Iterator[Sequence[memoryview]]:
    for read, row, start, end in zip(reads, rows, starts, ends, strict=False):
        read(row, start, end)
        yield row[::2]


def _scattered(
    sources: Sequence[TarBytes], offsets: Sequence[Sequence[int]], targets: Sequence[Sequence[memoryview]]
) -> Iterator[Sequence[memoryview]]:
    """Every sample's rows, filled part by part when they are asked for."""
    for source, starts, row in zip(sources, zip(*offsets, strict=True), zip(*targets, strict=False), strict=False):
        source.scatter(list(zip(starts, row, strict=True)))
        yield row
