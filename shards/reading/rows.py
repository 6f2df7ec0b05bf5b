"""Reads the rows of a batch into their slots and checks them there: one read a sample, where its members lie together.

Owns the hot loop of a stream. Which rows these are is planned in `shards.reading.gather`, buffers are the stream's, and
how several places of a file become one read is `shards.storage.open_files`'.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, NamedTuple

import xxhash

from shards.contract.schema import META, Field
from shards.errors import CorruptShard
from shards.reading.gather import BatchPlan, row_bytes
from shards.reading.reader import ShardSet
from shards.storage.open_files import TarBytes, wasted


class _Column(NamedTuple):
    """One member of all samples of a batch: where its bytes lie, where they go, what they are."""

    place: int  # in the record
    field: Field
    starts: Sequence[int]
    ends: Sequence[int]
    hashes: Sequence[int]
    targets: Sequence[memoryview]


class RowReader:
    """Of some fields of a set; may be called from several threads."""

    def __init__(self, shards: ShardSet, fields: Sequence[Field]) -> None:
        self._places = {field.name: place for place, field in enumerate(shards.schema.fields)}  # in the tar
        self._shards, self._fields = shards, fields
        self._row_bytes = [row_bytes(field) for field in fields]
        self._verify = shards.verify

    def read(
        self,
        plan: BatchPlan,
        sources: Sequence[TarBytes],
        slots: Sequence[Sequence[memoryview]],
        members: Collection[str] = (),
    ) -> dict[str, list[memoryview]]:
        """Fill the slots of every field, a row for each sample; and give the bytes of these members, which are no
        tensors, of each sample.

        With `verify` every row is hashed where it came to lie, and so is every meta, used or not: it says what the
        tensors are.

        Raises:
            CorruptShard: bytes have another hash than the index says.
        """
        columns: list[_Column] = []
        for field, n_bytes, (starts, hashes), targets in zip(
            self._fields, self._row_bytes, plan.reads, slots, strict=True
        ):
            ends = [start + n_bytes for start in starts]
            columns.append(_Column(self._places[field.name], field, starts, ends, hashes, targets))
        held = {}
        for name in {*members, META} if self._verify else members:
            starts, ends, hashes = plan.members[name]
            held[name] = _room_for([end - start for start, end in zip(starts, ends, strict=True)])
            field = self._shards.schema.field(name)
            columns.append(_Column(self._places[name], field, starts, ends, hashes, held[name]))
        columns.sort(key=attrgetter("place"))
        if not columns:
            return held
        starts, targets = [one.starts for one in columns], [one.targets for one in columns]
        digest, verify = xxhash.xxh3_64_intdigest, self._verify
        runs = _runs(sources, starts, [one.ends for one in columns], targets) or _scattered(sources, starts, targets)
        for place, (row, wanted) in enumerate(
            zip(runs, zip(*(one.hashes for one in columns), strict=True), strict=True)
        ):
            if verify and tuple(map(digest, row)) != wanted:
                number = next(k for k, expected in enumerate(wanted) if digest(row[k]) != expected)
                raise self._corrupt(plan, place, columns[number].field)
        return held

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


def _room_for(lengths: Sequence[int]) -> list[memoryview]:
    """Buffers of these lengths, of one piece of memory."""
    room = memoryview(bytearray(sum(lengths)))
    return [room[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
