"""What a stream hands out: a batch of arrays, and each of its samples for reading the rest as needed.

The stream has located every member when it planned the batch, so a sample reads without looking anything up;
JSON is parsed only when asked for. Filling the arrays is `stream`'s work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import xxhash

from shards.contract.canonical import parse_meta
from shards.contract.schema import META
from shards.reading.gather import BatchPlan
from shards.reading.reader import ShardSet, StoredRecord
from shards.storage.open_files import TarBytes


class SampleBatch:
    """One rank's share of a global batch, b samples.

    The arrays are buffers of the stream: valid until the caller asks for the batch after the next.
    """

    __slots__ = ("_held", "_n_samples", "_plan", "_shards", "_sources", "arrays", "asked")

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        plan: BatchPlan,
        shards: ShardSet,
        sources: list[TarBytes],
        n_samples: int,
        held: Mapping[str, Sequence[memoryview]] = MappingProxyType({}),
    ) -> None:
        self.arrays = arrays  # each [b, *row_shape]
        self._plan = plan
        self._shards = shards
        self._sources = sources  # the tar of each sample
        self._n_samples = n_samples  # in an epoch
        self._held = held  # members of each sample that were read, and checked, with its tensors
        self.asked = Counter[str]()  # how many samples were asked for another member

    def __len__(self) -> int:
        return len(self._plan.items)

    @property
    def position(self) -> int:
        """Global samples before this batch."""
        return self._plan.position

    @property
    def next_position(self) -> int:
        """Global samples after this batch: what a checkpoint stores."""
        return self._plan.position + self._plan.count

    @property
    def items(self) -> np.ndarray:
        """Global item numbers, i64 [b]."""
        return self._plan.items

    @property
    def rows(self) -> np.ndarray:
        """The rows of the record's item axis that were drawn, i64 [b]."""
        return self._plan.rows

    @property
    def dropped(self) -> np.ndarray | None:
        """bool [b]: samples without their caption; None where the stream drops none."""
        return self._plan.dropped

    @property
    def records(self) -> np.ndarray:
        """Global record numbers, i64 [b]."""
        return self._plan.records

    @property
    def keys(self) -> list[str]:
        """Record keys."""
        return [key.decode() for key in self._plan.keys]

    def sample(self, place: int) -> Sample:
        """The sample at a place of the batch."""
        return Sample(self, place)


class Sample:
    """One sample of a batch, read as asked: what a stream's `labels` function gets."""

    __slots__ = ("_batch", "_meta", "_place")

    def __init__(self, batch: SampleBatch, place: int) -> None:
        self._batch = batch
        self._place = place
        self._meta: dict[str, Any] | None = None

    @property
    def record(self) -> StoredRecord:
        """The whole record, for reading other rows than the drawn one."""
        return StoredRecord(self._batch._shards, int(self._batch._plan.records[self._place]))

    @property
    def key(self) -> str:
        """Key of the record."""
        return self._batch._plan.keys[self._place].decode()

    @property
    def meta(self) -> dict[str, Any]:
        """The record's meta, parsed at first use."""
        meta = self._meta
        if meta is None:
            meta = self._meta = parse_meta(self.payload(META), "a sample")
        return meta

    @property
    def global_item(self) -> int:
        """Number of the item in the set."""
        return int(self._batch._plan.items[self._place])

    @property
    def item(self) -> int:
        """Number of the item inside its record: the place in meta["items"]."""
        return int(self._batch._plan.runs[self._place, 0])

    @property
    def first_row(self) -> int:
        """First row of the item's run on the item axis."""
        return int(self._batch._plan.runs[self._place, 1])

    @property
    def n_rows(self) -> int:
        """Length of the item's run."""
        return int(self._batch._plan.runs[self._place, 2])

    @property
    def row(self) -> int:
        """The row of the record's item axis that was drawn."""
        return int(self._batch._plan.rows[self._place])

    @property
    def is_dropped(self) -> bool:
        """Whether it is without its caption."""
        dropped = self._batch._plan.dropped
        return dropped is not None and bool(dropped[self._place])

    @property
    def position(self) -> int:
        """Global position of this sample."""
        return int(self._batch._plan.positions[self._place])

    @property
    def epoch(self) -> int:
        """Epoch of this sample."""
        return self.position // self._batch._n_samples

    def payload(self, field: str) -> memoryview:
        """The member's bytes, checked (npy: all array data)."""
        batch, place = self._batch, self._place
        member = batch._plan.members.get(field)
        if member is None:
            return self.record.payload(field)
        held = batch._held.get(field)
        if held is not None:
            return held[place]
        batch.asked[field] += 1
        start, length, wanted = member.at(place)
        payload = batch._sources[place][start : start + length].data
        if batch._shards.verify and xxhash.xxh3_64_intdigest(payload) != wanted:
            raise batch._shards.corrupt(batch._shards.schema.field(field), int(batch._plan.records[place]), 0)
        return payload

    def array(self, field: str) -> np.ndarray:
        """The sample's row of an npy field as a copy: the drawn row on the item axis, the first row of another axis,
        else the whole.
        """
        schema, record = self._batch._shards.schema, self.record
        axis = schema.field(field).axis
        if not axis:
            return record.array(field)
        return record.array(field, self.row if axis == schema.item_axis else 0, 1)[0]
