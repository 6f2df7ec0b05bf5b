"""Checks that the numbers of a joined index can be followed: that they stay inside their tars, records and keys.

An index with the right hash is the one that was written; one that was made wrong, by whatever program, must not send a
reader beside a tar or into the memory behind an array. One pass of NumPy over the set; nothing is read.
"""

from __future__ import annotations

import numpy as np

from shards.contract.manifest import Manifest
from shards.contract.npy import storage_dtype
from shards.contract.schema import Field
from shards.errors import CorruptShard
from shards.reading.setindex import FieldTable, SetIndex

_LARGEST_TAR = 2**62  # what is added up stays within 64 bits
_ADVICE = "it was made wrong: rebuild this shard"


def check_index(manifest: Manifest, index: SetIndex) -> None:
    """CorruptShard naming the shard and what is wrong, for the first number that leads nowhere."""
    _check_keys(manifest, index)
    for field in manifest.schema.fields:
        _check_field(manifest, index, field)
    _check_items(manifest, index)


def _check_items(manifest: Manifest, index: SetIndex) -> None:
    records, first_rows, n_rows = index.items.T  # each [I]
    shard = np.repeat(np.arange(len(manifest.shards)), [entry.items for entry in manifest.shards])  # [I]
    wrong = np.diff(records, prepend=0) < 0
    wrong |= index.shard[np.minimum(records, len(index.shard) - 1)] != shard
    wrong |= records >= len(index.shard)
    _refuse(manifest, shard, wrong, "items name records that are not there, or not in order")
    rows = index.fields[_first_of(manifest, manifest.schema.item_axis)].rows[records]
    _refuse(manifest, shard, (n_rows < 1) | (first_rows + n_rows > rows), "an item is no run of its record's rows")


def _check_keys(manifest: Manifest, index: SetIndex) -> None:
    _refuse(manifest, index.shard, np.diff(index.key_ends) < 1, "a key has no characters, or ends before it begins")
    letters = np.frombuffer(index.keys, np.uint8)
    wrong = np.flatnonzero((letters < ord("!")) | (letters > ord("~")))
    if len(wrong):
        shard = index.shard[np.searchsorted(index.key_ends, wrong[0], side="right") - 1]
        raise CorruptShard(f"{manifest.shards[int(shard)].name}.idx: a key is no visible ASCII; {_ADVICE}")


def _check_field(manifest: Manifest, index: SetIndex, field: Field) -> None:
    table, tar_bytes = index.fields[field.name], np.array([shard.tar_bytes for shard in manifest.shards], np.int64)
    start, length = table.offset, table.length  # each [R]; beyond 2^63 they have become negative
    outside = (start < 0) | (length < 0) | (start > _LARGEST_TAR) | (length > _LARGEST_TAR)
    outside |= np.where(outside, 0, start + length) > tar_bytes[index.shard]
    _refuse(manifest, index.shard, outside, f"{field.member} lies beyond the end of the tar")
    rows = index.fields[_first_of(manifest, field.axis)].rows if field.axis else np.ones_like(table.rows)
    _refuse(manifest, index.shard, table.rows != rows, f"{field.member} has other rows than its axis")
    if field.codec == "npy":
        _refuse(manifest, index.shard, ~_fits(field, table), f"{field.member} is not of the schema's shape and length")


def _fits(field: Field, table: FieldTable) -> np.ndarray:
    """[R] whether shapes are those of the schema, and lengths and rows those of the shapes."""
    fits = np.ones(len(table.length), bool)
    for sides, wanted in zip(table.shape.T, field.shape, strict=True):
        if isinstance(wanted, int):
            fits &= sides == wanted
    if field.axis:
        fits &= table.shape[:, 0] == table.rows
    itemsize = storage_dtype(field.dtype).itemsize
    n_bytes = table.shape.prod(axis=1) * itemsize  # wraps where it is beyond 64 bits, which the floats show
    return fits & (n_bytes == table.length) & (table.shape.astype(float).prod(axis=1) * itemsize < _LARGEST_TAR)


def _first_of(manifest: Manifest, axis: str) -> str:
    return next(field.name for field in manifest.schema.fields if field.axis == axis)


def _refuse(manifest: Manifest, shard: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        name = manifest.shards[int(shard[int(np.argmax(wrong))])].name
        raise CorruptShard(f"{name}.idx: {what}; {_ADVICE}")
