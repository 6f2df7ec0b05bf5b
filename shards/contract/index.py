"""The `.idx` beside every tar: where each payload lies and the xxh3 hash of each of its rows.

One safetensors file (nothing to unpickle). A writer collects it while it writes (`IndexRows`); `build_index` makes
the same file from a tar, by walking it, which is what verifying compares with. A member of codec npy is located at its
array data, after the npy header. Arrays, R records and F fields of a shard:

    keys u8 [bytes], key_ends u64 [R]        the record keys, one after the other
    items u32 [I, 3]                         record in the shard, first_row, n_rows
    <field>.offset, <field>.length u64 [R]   the payload in the tar
    <field>.rows u32 [R]                     how many hashes it has: rows of its axis, else 1
    <field>.shape u32 [R, dims]              npy only
    <field>.hash u64 [sum of rows]           xxh3_64 of each row's bytes
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import xxhash

from shards.contract.canonical import parse_json
from shards.contract.npy import MAX_HEADER_BYTES, parse_header
from shards.contract.schema import META, Field, Schema, check_axis, check_items, check_key
from shards.contract.tar_walk import walk
from shards.errors import CorruptShard, SchemaMismatch

_Part = tuple[int, int, tuple[int, ...], list[int]]  # offset, length, shape, row hashes of one payload


@dataclass(frozen=True)
class FieldIndex:
    """Location of one field in R records; see the module's table."""

    offset: np.ndarray  # u64 [R]
    length: np.ndarray  # u64 [R]
    rows: np.ndarray  # u32 [R]
    shape: np.ndarray  # u32 [R, dims]; dims = 0 unless npy
    hash: np.ndarray  # u64 [sum of rows]


_U8, _U32, _U64 = np.dtype(np.uint8), np.dtype(np.uint32), np.dtype(np.uint64)
_PARTS = tuple(FieldIndex.__dataclass_fields__)


@dataclass(frozen=True)
class ShardIndex:
    """Index of one shard."""

    keys: np.ndarray  # u8 [bytes]
    key_ends: np.ndarray  # u64 [R]
    items: np.ndarray  # u32 [I, 3]: record, first_row, n_rows
    fields: dict[str, FieldIndex]

    def arrays(self) -> dict[str, np.ndarray]:
        """The named arrays of the file."""
        named = {"keys": self.keys, "key_ends": self.key_ends, "items": self.items}
        for name, field in self.fields.items():
            named.update({f"{name}.{part}": array for part, array in vars(field).items()})
        return named

    def key_list(self) -> list[str]:
        """The record keys, in order."""
        text = self.keys.tobytes()
        return [text[start:end].decode() for start, end in pairwise([0, *self.key_ends.tolist()])]

    def axis_rows(self, schema: Schema) -> dict[str, int]:
        """Total rows of every axis. All fields of an axis have the same rows, so the first one is counted."""
        first = {field.axis: field.name for field in reversed(schema.fields) if field.axis}
        return {axis: int(self.fields[first[axis]].rows.sum()) for axis in schema.axes}

    def save(self, path: Path) -> None:
        """Write the file at `path` (plain write: the caller renames it into place)."""
        path.write_bytes(safetensors.numpy.save(self.arrays()))

    @staticmethod
    def load(payload: bytes, schema: Schema, where: str) -> ShardIndex:
        """The index in a file's bytes; CorruptShard naming `where` if it is not one for this schema."""
        try:
            named = safetensors.numpy.load(payload)
            fields = {
                field.name: FieldIndex(**{part: named[f"{field.name}.{part}"] for part in _PARTS})
                for field in schema.fields
            }
            index = ShardIndex(named["keys"], named["key_ends"], named["items"], fields)
            index._check_forms(schema)
            return index
        except (KeyError, ValueError, safetensors.SafetensorError) as error:
            raise CorruptShard(f"{where}: no index for this schema ({error}); rebuild this shard") from error

    def _check_forms(self, schema: Schema) -> None:
        """ValueError unless every array is of the type and as long as the others say. What the numbers mean together is
        checked where they are joined (`shards.reading.sound_index`)."""
        records = self.key_ends.size
        _check_form("keys", self.keys, _U8, (self.keys.size,))
        _check_form("key_ends", self.key_ends, _U64, (records,))
        _check_form("items", self.items, _U32, (self.items.size // 3, 3))
        for field in schema.fields:
            parts = self.fields[field.name]
            _check_form("offset", parts.offset, _U64, (records,))
            _check_form("length", parts.length, _U64, (records,))
            _check_form("rows", parts.rows, _U32, (records,))
            _check_form("shape", parts.shape, _U32, (records, len(field.shape)))
            _check_form("hash", parts.hash, _U64, (int(parts.rows.sum()),))
        if int(self.key_ends[-1] if records else 0) != self.keys.size:
            raise ValueError(f"the keys have {self.keys.size} bytes, the last ends elsewhere")


def _check_form(part: str, array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{part} is {array.dtype} {list(array.shape)}, expected {dtype} {list(shape)}")


def build_index(tar_path: Path, schema: Schema) -> ShardIndex:
    """Walk a tar, check every member against the schema, and hash every row.

    CorruptShard for a damaged tar, SchemaMismatch for a sound one with other contents.
    """
    rows = IndexRows(schema)
    members = walk(tar_path)
    for name, offset, payload in members:
        key = _key_of(name, schema.fields[0], tar_path)
        files = [(offset, payload)]
        for field in schema.fields[1:]:
            name, offset, payload = next(members, ("end of file", 0, b""))
            if name != f"{key}.{field.member}":
                raise SchemaMismatch(f"{tar_path.name}: found {name!r}, expected {key}.{field.member}")
            files.append((offset, payload))
        rows.add_files(key, files, tar_path.name)
    return rows.index()


class IndexRows:
    """The index of a tar as it grows: `add_member` for every member in schema order, then `end_record`."""

    def __init__(self, schema: Schema) -> None:
        self._keys: list[bytes] = []
        self._items: list[tuple[int, int, int]] = []
        self._parts: dict[str, list[_Part]] = {field.name: [] for field in schema.fields}
        self._schema = schema

    def add_member(self, field: str, offset: int, data: bytes | memoryview, shape: tuple[int, ...], rows: int) -> None:
        """`data` lies at byte `offset` of the tar: an array of `shape` in `rows` equal parts, or a whole file."""
        self._parts[field].append((offset, len(data), shape, _row_hashes(memoryview(data), rows)))

    def add_files(self, key: str, files: Sequence[tuple[int, bytes]], where: str) -> None:
        """A whole record as it lies in a tar `where`: (offset, bytes) of every member in schema order, checked against
        the schema."""
        letters: dict[str, int] = {}
        axis_rows: dict[str, int] = {}
        for field, (offset, payload) in zip(self._schema.fields, files, strict=True):
            at = f"{where}: {key}.{field.member}"
            shape, skip = _shape(field, payload, letters, at)
            if field.axis:
                check_axis(field, shape[0], axis_rows, at)
            data = memoryview(payload)[skip:]
            self.add_member(field.name, offset + skip, data, shape, shape[0] if field.axis else 1)
        meta = parse_json(files[-1][1], f"{where}: {key}.{META}.json")  # the last field
        self.end_record(key, check_items(meta, axis_rows[self._schema.item_axis], f"{where}: {key}"))

    def end_record(self, key: str, items: Sequence[tuple[int, int]]) -> None:
        """The members since the last call are those of `key`."""
        self._items += [(len(self._keys), first, count) for first, count in items]
        self._keys.append(key.encode())

    def index(self) -> ShardIndex:
        """The index of all records so far."""
        return ShardIndex(
            np.frombuffer(b"".join(self._keys), np.uint8),
            np.cumsum([len(key) for key in self._keys], dtype=np.uint64),
            np.array(self._items, np.uint32).reshape(-1, 3),
            {field.name: _field_index(self._parts[field.name], len(field.shape)) for field in self._schema.fields},
        )


def _key_of(name: str, first: Field, tar_path: Path) -> str:
    if not name.endswith(f".{first.member}"):
        raise SchemaMismatch(f"{tar_path.name}: found {name!r}, a record starts with .{first.member}")
    key = name.removesuffix(f".{first.member}")
    check_key(key)
    return key


def _shape(field: Field, payload: bytes, letters: dict[str, int], where: str) -> tuple[tuple[int, ...], int]:
    """(array shape, header bytes) of an npy member, checked; ((), 0) for other codecs."""
    if field.codec != "npy":
        return (), 0
    dtype, shape, header_bytes = parse_header(payload[:MAX_HEADER_BYTES], where)
    field.check_shape(dtype, shape, letters, where)
    if header_bytes + math.prod(shape) * dtype.itemsize != len(payload):
        raise CorruptShard(f"{where}: {len(payload)} bytes, not enough for {list(shape)}; rebuild this shard")
    if field.axis and shape[0] > max(1, len(payload) - header_bytes):
        raise CorruptShard(f"{where}: {shape[0]} rows in {len(payload) - header_bytes} bytes; rebuild this shard")
    return shape, header_bytes


def _row_hashes(data: memoryview, rows: int) -> list[int]:
    row_bytes = len(data) // rows if rows else 0
    return [xxhash.xxh3_64_intdigest(data[row * row_bytes : (row + 1) * row_bytes]) for row in range(rows)]


def _field_index(parts: Sequence[_Part], dims: int) -> FieldIndex:
    return FieldIndex(
        np.array([offset for offset, _, _, _ in parts], np.uint64),
        np.array([length for _, length, _, _ in parts], np.uint64),
        np.array([len(hashes) for _, _, _, hashes in parts], np.uint32),
        np.array([shape for _, _, shape, _ in parts], np.uint32).reshape(len(parts), dims),
        np.array([value for _, _, _, hashes in parts for value in hashes], np.uint64),
    )
