"""The page of a shard, made from its index file by the compiled library: checked and packed by one call.

Owns the header of the file: that every array is there, of its type, as long as it should be, and that they lie one
behind the other. What the numbers say the library checks. Whatever is not as it should be, or only unusual, is left to
Python's way (`shards.reading.reader`), which finds the same and says what it is; both make the same page.
"""

from __future__ import annotations

import struct
from ctypes import CDLL
from itertools import chain
from operator import itemgetter

import numpy as np
import orjson

from shards.contract.entries import ShardEntry
from shards.contract.npy import storage_dtype
from shards.contract.schema import Schema
from shards.native.library import address_of, library
from shards.reading.page import N_RUN, Columns, Layout, Page

_LENGTH_BYTES = 8  # of the header's length, with which the file begins
_OF_SET = ("keys", "key_ends", "items")
_OF_FIELD = ("offset", "length", "rows", "shape", "hash")
_TYPES_OF_SET, _TYPES_OF_FIELD = ["U8", "U64", "U32"], ["U64", "U64", "U32", "U32", "U64"]
_FIRST_SAID, _SAID = 2, 3  # numbers of a table, then so many of each column: `struct said` of index.c
_NARROW = 2**32


class NativePages:
    """Makes pages of the shards of a set."""

    def __init__(self, schema: Schema, layout: Layout) -> None:
        fields = schema.fields
        first = {field.axis: number for number, field in reversed(list(enumerate(fields)))}
        self._names = [*_OF_SET, *(f"{field.name}.{part}" for field in fields for part in _OF_FIELD)]
        self._of_names = itemgetter(*self._names)
        self._types = [*_TYPES_OF_SET, *_TYPES_OF_FIELD * len(fields)]
        self._dims = [len(field.shape) for field in fields]
        self._known = [  # of each field, as `struct field` has it last
            (
                len(field.shape),
                storage_dtype(field.dtype).itemsize if field.codec == "npy" else 0,
                first[field.axis] if field.axis else -1,
            )
            for field in fields
        ]
        self._item_axis = first[schema.item_axis]
        sides = [-1 if isinstance(side, str) else side for field in fields for side in field.shape]
        self._sides = np.array(sides, np.int64)
        self._sides_at = address_of(self._sides)
        self._width = layout.width
        self._numbers = struct.Struct(f"{9 + 9 * len(fields)}q")

    def page(self, payload: memoryview, shard: ShardEntry) -> Page | None:
        """Of the index file of a shard; None where there is no library, or something is to be said."""
        native = library()
        if native is None or not shard.records or not shard.items:
            return None
        try:
            head = self._head(payload, shard)
        except (KeyError, ValueError, TypeError, IndexError, struct.error):  # no index of this schema
            return None
        return self._packed(native, payload, shard, *head) if head else None

    def _head(self, payload: memoryview, shard: ShardEntry) -> tuple[bytes, bytes, int] | None:
        """(`struct head` of index.c, the keys, how many hashes there are); None if an array is of another type or
        length than it should be, or there are gaps between them."""
        start = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "little")
        if payload[_LENGTH_BYTES] != ord("{") or start % _LENGTH_BYTES:
            return None
        header = orjson.loads(payload[_LENGTH_BYTES:start])
        entries = self._of_names(header)
        shapes = [entry["shape"] for entry in entries]
        spans = [entry["data_offsets"] for entry in entries]
        n_records, n_runs, n_key_bytes = shard.records, shard.items, shapes[0][0]
        wanted, sizes = [[n_key_bytes], [n_records], [n_runs, 3]], [n_key_bytes, 8 * n_records, 12 * n_runs]
        n_hashes = [shape[0] for shape in shapes[7::5]]
        for dims, count in zip(self._dims, n_hashes, strict=True):
            wanted += [n_records], [n_records], [n_records], [n_records, dims], [count]
            sizes += 8 * n_records, 8 * n_records, 4 * n_records, 4 * n_records * dims, 8 * count
        ends = sorted(chain.from_iterable(spans))  # those of one array twice: where it ends and the next begins
        if (
            len(header) != len(entries)
            or [entry["dtype"] for entry in entries] != self._types
            or shapes != wanted
            or [end - begin for begin, end in spans] != sizes
            or ends[0]
            or ends[1:-1:2] != ends[2::2]
            or ends[-1] != sum(sizes)
            or start + ends[-1] != len(payload)
            or {*map(type, ends), *map(type, chain.from_iterable(shapes))} != {int}
        ):
            return None
        at = [start + begin for begin, _ in spans]
        numbers = [n_records, n_runs, n_key_bytes, shard.tar_bytes, len(self._dims), self._item_axis, *at[:3]]
        for number, (count, known) in enumerate(zip(n_hashes, self._known, strict=True)):
            numbers += *at[3 + 5 * number : 8 + 5 * number], count, *known
        return self._numbers.pack(*numbers), bytes(payload[at[0] : at[0] + n_key_bytes]), sum(n_hashes)

    def _packed(
        self, native: CDLL, payload: memoryview, shard: ShardEntry, head: bytes, keys: bytes, n_hashes: int
    ) -> Page | None:
        file = address_of(np.frombuffer(payload, np.uint8))
        n_records, n_runs, width = shard.records, shard.items, self._width
        room = np.empty(n_records + 1 + max(n_records, n_runs), np.int64)
        first_run = address_of(room)
        values = first_run + room.itemsize * (n_records + 1)
        of_records, of_runs = (np.empty(_FIRST_SAID + _SAID * columns, np.int64) for columns in (width, N_RUN))
        hashes = np.empty(n_hashes, np.uint64)
        said = (address_of(of_records), address_of(of_runs))
        if not native.pack_index(
            file, head, self._sides_at, width, first_run, values, *said, address_of(hashes)
        ):  # fmt: skip
            return None

        def table(is_of_runs: int, count: int, width: int, numbers: np.ndarray) -> Columns:
            n_varying, largest = numbers[:_FIRST_SAID].tolist()
            base, step, varying = numbers[_FIRST_SAID:].reshape(_SAID, width)
            narrow = largest < _NARROW
            values_of = np.empty((count, n_varying), np.uint32 if narrow else np.int64)  # [R, k]
            native.write_table(
                file, head, first_run, is_of_runs, width, values, said[is_of_runs], narrow, address_of(values_of)
            )
            return Columns(base, step, varying[:n_varying], values_of)

        return Page(table(0, n_records, width, of_records), table(1, n_runs, N_RUN, of_runs), keys, hashes)
