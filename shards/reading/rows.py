"""Reads the rows of a batch into their slots and checks them there: one read a sample, where its members lie together.

Owns the hot loop of a stream. Which rows these are is planned in `shards.reading.gather`, buffers are the stream's, and
how several places of a file become one read is `shards.storage.open_files`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import xxhash

from shards.contract.schema import META, Field
from shards.errors import CorruptShard
from shards.reading.gather import BatchPlan, row_bytes
from shards.reading.reader import ShardSet
from shards.storage.open_files import TarBytes, wasted


class RowReader:
    """Of some fields of a set; may be called from several threads."""

    def __init__(self, shards: ShardSet, fields: Sequence[Field]) -> None:
        places = {field.name: place for place, field in enumerate(shards.schema.fields)}
        self._shards, self._fields = shards, fields
        self._order = sorted(range(len(fields)), key=lambda number: places[fields[number].name])  # as in the tar
        self._row_bytes = [row_bytes(fields[number]) for number in self._order]
        self._verify = shards.verify

    def read(
        self, plan: BatchPlan, sources: Sequence[TarBytes], slots: Sequence[Sequence[memoryview]]
    ) -> list[memoryview] | None:
        """Fill the slots of every field, a row for each sample; the samples' metas, if they were checked.

        With `verify` every row is hashed where it came to lie, and so is every meta, used or not: it says what the
        tensors are.

        Raises:
            CorruptShard: bytes have another hash than the index says.
        """
        offsets = [plan.reads[number][0] for number in self._order]
        hashes = [plan.reads[number][1] for number in self._order]
        targets = [slots[number] for number in self._order]
        ends = [[start + n_bytes for start in starts] for starts, n_bytes in zip(offsets, self._row_bytes, strict=True)]
        metas = None
        if self._verify:
            starts, meta_ends, meta_hashes = plan.members[META]
            metas = _room_for([end - start for start, end in zip(starts, meta_ends, strict=True)])
            # last in the tar
            offsets, hashes, targets = [*offsets, starts], [*hashes, meta_hashes], [*targets, metas]
            ends.append(meta_ends)
        if not offsets:
            return None
        digest, verify = xxhash.xxh3_64_intdigest, self._verify
        runs = _runs(sources, offsets, ends, targets) or _scattered(sources, offsets, targets)
        for place, (row, wanted) in enumerate(zip(runs, zip(*hashes, strict=True), strict=True)):
            if verify and tuple(map(digest, row)) != wanted:
                number = next(k for k, expected in enumerate(wanted) if digest(row[k]) != expected)
                raise self._corrupt(plan, place, number)
        return metas

    def _corrupt(self, plan: BatchPlan, place: int, number: int) -> CorruptShard:
        """The error of a sample's field, by its number in the order of the tar; meta comes last."""
        schema, record = self._shards.schema, int(plan.records[place])
        field = schema.field(META) if number == len(self._fields) else self._fields[self._order[number]]
        return self._shards.corrupt(field, record, int(plan.rows[place]) if field.axis == schema.item_axis else 0)


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


def _room_for(lengths: Sequence[int]) -> list[memoryview]:
    """Buffers of these lengths, of one piece of memory."""
    room = memoryview(bytearray(sum(lengths)))
    return [room[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
