"""The indexes of all shards of a set, joined, so that a batch is located by a few NumPy look-ups.

Global numbers count over the whole set in manifest order: record r, item i, and hash rows of a field. Says
where bytes lie; `reader` and `stream` read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.contract.index import ShardIndex
from shards.contract.manifest import Manifest
from shards.errors import CorruptShard


@dataclass(frozen=True)
class FieldTable:
    """One field of all R records of a set."""

    offset: np.ndarray  # i64 [R] in the record's tar
    length: np.ndarray  # i64 [R]
    rows: np.ndarray  # i64 [R]
    shape: np.ndarray  # i64 [R, dims]
    first_hash: np.ndarray  # i64 [R] place of the record's first row in `hash`
    hash: np.ndarray  # u64 [sum of rows]


@dataclass(frozen=True)
class SetIndex:
    """R records and I items of a set."""

    shard: np.ndarray  # i64 [R] shard of each record
    items: np.ndarray  # i64 [I, 3]: record, first_row, n_rows
    first_item: np.ndarray  # i64 [R + 1]: the items of record r are first_item[r] .. first_item[r + 1]
    row_ends: np.ndarray  # i64 [I]: running total of n_rows
    keys: bytes
    key_ends: np.ndarray  # i64 [R + 1], starting at 0
    fields: dict[str, FieldTable]

    def key(self, record: int) -> str:
        """Key of a record."""
        return self.keys[self.key_ends[record] : self.key_ends[record + 1]].decode()


def join(manifest: Manifest, indexes: Sequence[ShardIndex]) -> SetIndex:
    """One index for the set. CorruptShard if an index contradicts the manifest."""
    records = np.array([len(index.key_ends) for index in indexes], np.int64)  # [shards]
    for shard, index in zip(manifest.shards, indexes, strict=True):
        found = (len(index.key_ends), len(index.items))
        if found != (shard.records, shard.items):
            raise CorruptShard(
                f"{shard.name}.idx: holds {found[0]} records and {found[1]} items, the manifest says "
                f"{shard.records} and {shard.items}; rebuild this shard"
            )
    first_record = np.cumsum(records) - records
    items = _stack([index.items for index in indexes], (0, 3))
    items[:, 0] += np.repeat(first_record, [len(index.items) for index in indexes])
    key_lengths = [np.diff(index.key_ends.astype(np.int64), prepend=0) for index in indexes]
    return SetIndex(
        shard=np.repeat(np.arange(len(indexes)), records),
        items=items,
        first_item=np.searchsorted(items[:, 0], np.arange(records.sum() + 1)),
        row_ends=np.cumsum(items[:, 2]),
        keys=b"".join(index.keys.tobytes() for index in indexes),
        key_ends=np.concatenate([[0], np.cumsum(_stack(key_lengths, (0,)))]).astype(np.int64),
        fields={field.name: _table(manifest, indexes, field.name) for field in manifest.schema.fields},
    )


def _table(manifest: Manifest, indexes: Sequence[ShardIndex], name: str) -> FieldTable:
    field = manifest.schema.field(name)
    parts = [index.fields[name] for index in indexes]
    rows = _stack([part.rows for part in parts], (0,))
    length = _stack([part.length for part in parts], (0,))
    shape = _stack([part.shape for part in parts], (0, len(field.shape)))
    return FieldTable(
        offset=_stack([part.offset for part in parts], (0,)),
        length=length,
        rows=rows,
        shape=shape,
        first_hash=np.cumsum(rows) - rows,
        hash=np.concatenate([np.empty(0, np.uint64), *(part.hash for part in parts)]),
    )


def _stack(arrays: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    """Concatenation as i64, also of no arrays at all."""
    return np.concatenate([np.empty(empty, np.int64), *(array.astype(np.int64) for array in arrays)])
