"""Reads the rows of a batch into their slots and checks them there: one read a sample, where its members lie together.

Owns the hot loop of a stream. Which rows these are is planned in `shards.reading.gather`, buffers are the stream's, and
how several places of a file become one read is `shards.storage.open_files`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import xxhash

from shards.contract.schema import META, Field
from shards.errors import CorruptShard
from shards.reading.gather import BatchPlan
from shards.reading.reader import ShardSet
from shards.storage.open_files import TarBytes


class RowReader:
    """Of some fields of a set; may be called from several threads."""

    def __init__(self, shards: ShardSet, fields: Sequence[Field]) -> None:
        places = {field.name: place for place, field in enumerate(shards.schema.fields)}
        self._shards, self._fields = shards, fields
        self._order = sorted(range(len(fields)), key=lambda number: places[fields[number].name])  # as in the tar
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
        metas = None
        if self._verify:
            starts, ends, meta_hashes = plan.members[META]
            metas = _room_for([end - start for start, end in zip(starts, ends, strict=True)])
            offsets, hashes, targets = [*offsets, starts], [*hashes, meta_hashes], [*targets, metas]  # last in the tar
        if not offsets:
            return None
        parts = zip(*(zip(at, into, strict=False) for at, into in zip(offsets, targets, strict=True)), strict=True)
        digest, verify = xxhash.xxh3_64_intdigest, self._verify
        for place, (source, read, wanted) in enumerate(zip(sources, parts, zip(*hashes, strict=True), strict=True)):
            source.scatter(read)
            if verify:
                for number, ((_, target), expected) in enumerate(zip(read, wanted, strict=True)):
                    if digest(target) != expected:
                        raise self._corrupt(plan, place, number)
        return metas

    def _corrupt(self, plan: BatchPlan, place: int, number: int) -> CorruptShard:
        """The error of a sample's field, by its number in the order of the tar; meta comes last."""
        schema, record = self._shards.schema, int(plan.records[place])
        field = schema.field(META) if number == len(self._fields) else self._fields[self._order[number]]
        return self._shards.corrupt(field, record, int(plan.rows[place]) if field.axis == schema.item_axis else 0)


def _room_for(lengths: Sequence[int]) -> list[memoryview]:
    """Buffers of these lengths, of one piece of memory."""
    room = memoryview(bytearray(sum(lengths)))
    return [room[end - length : end] for end, length in zip(accumulate(lengths), lengths, strict=True)]
