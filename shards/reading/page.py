"""The index of one shard as it is kept in memory: what a stream looks up, packed.

Owns the packing. Most columns of an index say little: they are constant, or grow by the same step from record to
record, and are kept as two numbers; the rest is kept in 32 bits where it fits. What a page is made from, and when, is
`shards.reading.paged_index`'s. Numbers of records, items and hashes count inside the shard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shards.contract.schema import Schema
from shards.reading.setindex import FieldTable, SetIndex

_OF_RECORD = ("first_item", "n_items", "key_start", "key_length")  # the first columns of a record
_OF_FIELD = ("offset", "length", "rows", "first_hash")  # then these of every field, and its sides
_N_RECORD, _N_FIELD = len(_OF_RECORD), len(_OF_FIELD)
KEY_START, KEY_LENGTH = 2, 3
PLACE, FIRST_ROW, N_ROWS, ROW_END = 1, 2, 3, 4  # columns of an item; column 0 is its record
N_RUN = 5  # of them


@dataclass(frozen=True)
class Columns:
    """A table of whole numbers, i64 [R, C]."""

    base: np.ndarray  # i64 [C]: the first row
    step: np.ndarray  # i64 [C]: what is added from row to row
    varying: np.ndarray  # i64 [k]: columns that do not grow so
    table: np.ndarray  # u32 or i64 [R, k]: and their values

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.table.nbytes + self.base.nbytes + self.step.nbytes + self.varying.nbytes

    @staticmethod
    def pack(values: np.ndarray) -> Columns:
        """Of i64 [R, C], none of them negative; quickest in Fortran's order."""
        base = values[0] if len(values) else np.zeros(values.shape[1], np.int64)
        step = values[1] - values[0] if len(values) > 1 else np.zeros_like(base)
        number, varying = np.arange(len(values)), []
        for column, (first, more) in enumerate(zip(base.tolist(), step.tolist(), strict=True)):
            own = values[:, column]
            grows = not len(own) or (own[-1] == first + more * (len(own) - 1) and (own == first + more * number).all())
            if not grows:
                varying.append(column)
        table = values[:, varying]
        narrow = not table.size or int(table.max()) < 2**32
        table = np.ascontiguousarray(table, np.uint32 if narrow else np.int64)
        return Columns(base.copy(), step.copy(), np.array(varying, np.int64), table)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """i64 [P, C] of rows i64 [P]."""
        found = self.base + self.step * rows[:, None]
        if len(self.varying):
            found[:, self.varying] = self.table[rows]
        return found

    def all(self) -> np.ndarray:
        """The whole table, i64 [R, C]."""
        return self.at(np.arange(len(self)))


class Layout:
    """Which column of a record is what, of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.names = [field.name for field in schema.fields]
        dims = [len(field.shape) for field in schema.fields]
        ends = _N_RECORD + np.cumsum([_N_FIELD + n for n in dims])
        self._slots = {
            name: (int(end) - _N_FIELD - n, int(end)) for name, end, n in zip(self.names, ends, dims, strict=True)
        }
        self.width = int(ends[-1])
        self.first_hash = np.array([self._slots[name][0] + 3 for name in self.names])  # i64 [F]
        self.on_item_axis = np.array([field.axis == schema.item_axis for field in schema.fields])  # [F]

    def field(self, name: str) -> slice:
        """Columns of a field: offset, length, rows, first_hash, then its sides."""
        return slice(*self._slots[name])

    def offset(self, name: str) -> int:
        """The column of a field's offset in the tar; its length is in the next."""
        return self._slots[name][0]


@dataclass(frozen=True)
class Page:
    """R records and I items of a shard."""

    records: Columns  # [R, C] as of the layout
    items: Columns  # [I, 5]: record, place in its record, first row, number of rows, running total of rows
    keys: bytes
    hash: np.ndarray  # u64 [H], of all fields

    @property
    def nbytes(self) -> int:
        """Of memory, all in all."""
        return self.records.nbytes + self.items.nbytes + len(self.keys) + self.hash.nbytes + 1024

    @property
    def n_rows(self) -> int:
        """Rows of all items."""
        return int(self.items.at(np.array([len(self.items) - 1]))[0, ROW_END]) if len(self.items) else 0

    def row(self, record: int) -> np.ndarray:
        """The columns of a record, i64 [C]."""
        found = self.records.base + self.records.step * record
        found[self.records.varying] = self.records.table[record]
        return found

    def key(self, record: int) -> str:
        """The key of a record."""
        start, length = self.row(record)[KEY_START : KEY_LENGTH + 1].tolist()
        return self.keys[start : start + length].decode()

    def key_list(self) -> list[str]:
        """The keys of all records, in order."""
        spans = self.records.all()[:, KEY_START : KEY_LENGTH + 1].tolist()
        return [self.keys[start : start + length].decode() for start, length in spans]

    def items_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Which item each row of the item axis is of, by its number among the rows of all items; both i64 [P]."""
        return np.searchsorted(self.items.all()[:, ROW_END], rows, side="right")

    def of(self, records: np.ndarray) -> Page:
        """The page of some of its records, i64 [r] ascending, numbered anew. Keys and hashes are shared with this one:
        where they are is what a record says."""
        columns = self.records.at(records)
        runs = self.items.all()
        runs = runs[np.isin(runs[:, 0], records)]
        runs[:, 0] = np.searchsorted(records, runs[:, 0])
        runs[:, ROW_END] = np.cumsum(runs[:, N_ROWS])
        columns[:, 0] = np.cumsum(columns[:, 1]) - columns[:, 1]
        return replace(self, records=Columns.pack(columns), items=Columns.pack(runs))


def page_of(index: SetIndex, layout: Layout) -> Page:
    """The page of a shard, whose index is joined and checked as that of a set of one shard."""
    records = np.empty((len(index.shard), layout.width), np.int64, order="F")
    first = [index.first_item[:-1], np.diff(index.first_item), index.key_ends[:-1], np.diff(index.key_ends)]
    for column, values in enumerate(first):
        records[:, column] = values
    before = 0
    for name in layout.names:
        table = index.fields[name]
        own = [table.offset, table.length, table.rows, table.first_hash + before, *table.shape.T]
        for column, values in enumerate(own, layout.offset(name)):
            records[:, column] = values
        before += len(table.hash)
    of_record = index.items[:, 0]
    place = np.arange(len(of_record)) - index.first_item[of_record]
    items = np.asfortranarray(np.stack([of_record, place, *index.items[:, 1:].T, index.row_ends]).T)
    hashes = np.concatenate([index.fields[name].hash for name in layout.names])
    return Page(Columns.pack(records), Columns.pack(items), index.keys, hashes)


def table_of(page: Page, layout: Layout, name: str) -> FieldTable:
    """A field of all records of a page; its hashes are those of all fields, where `first_hash` finds them."""
    offset, length, rows, first_hash, *sides = page.records.all()[:, layout.field(name)].T
    shape = np.stack(sides, axis=1) if sides else np.empty((len(offset), 0), np.int64)
    return FieldTable(offset, length, rows, shape, first_hash, page.hash)
