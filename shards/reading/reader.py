"""Random access to a finished set: records and items by number, read by offset, every byte checked before it
is given out.

Trusts the manifest and nothing else: tars must be there with the recorded sizes (`shards.reading.tar_sizes`); an index
must have the recorded hash before anything is looked up in it, and every read checks the xxh3 of what it read. The
indexes of a small set are checked when it is opened, those of a large one as they are needed. Local tars are read in
place; remote ones arrive through a ShardCache, or by ranges. What was read is the reader's own: a file that is edited
or cut later changes nothing of it, and the next read says so. Members that nobody reads are not hashed: `python -m
shards.verify` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import xxhash

from shards.contract.canonical import parse_meta
from shards.contract.index import ShardIndex
from shards.contract.manifest import Manifest
from shards.contract.npy import storage_dtype
from shards.contract.schema import META, Field
from shards.contract.tables import read_table
from shards.errors import ConfigError, CorruptShard, IncompleteSet, SchemaMismatch
from shards.reading.counts import Counts
from shards.reading.native_page import NativePages
from shards.reading.page import Layout, Page, page_of
from shards.reading.paged_index import KeptPages, PagedIndex, Pages
from shards.reading.setindex import SetIndex, join
from shards.reading.sound_index import check_index
from shards.reading.tar_sizes import TarSizes
from shards.storage.cache import CacheConfig, ShardCache
from shards.storage.open_files import TarBytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, Hold, open_folder

if TYPE_CHECKING:
    from shards.reading.mixing import Mixing

_SMALL_RECORDS = 65_536  # of a set whose indexes are all checked when it is opened
INDEX_BYTES = 64 * 2**20  # of indexes that are kept; eight processes of a node stay below 1 GB


class ItemRef(NamedTuple):
    """An item: its record, and its run of rows on the schema's item axis."""

    record: int
    first_row: int
    n_rows: int


class ShardSet:
    """A set opened for reading; safe to share between threads. Make one with `ShardSet.open`."""

    mixing: Mixing | None = None  # how often each is drawn from, of several sets that are read as one

    def __init__(
        self,
        folder: Folder,
        manifest: Manifest,
        pages: Pages,
        *,
        verify: bool,
        index_bytes: int = INDEX_BYTES,
        sizes: Sequence[TarSizes] = (),
    ) -> None:
        self.folder = folder
        self.sizes = tuple(sizes)  # of the tars of every set in it
        self.index_bytes = index_bytes  # of indexes that are kept
        self.manifest = manifest
        self.schema = manifest.schema
        self.paged = PagedIndex(manifest, Layout(manifest.schema), pages)
        self.verify = verify
        self.n_records = int(self.paged.record_counts.sum())
        self.n_items = int(self.paged.item_counts.sum())
        self._shard_items: dict[str, Counts] = {}

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            f"{self.manifest.name}: an open set has files of one process and cannot be pickled; open it where it is to "
            "be read, or send a SetDataset or SetStream (diffusion_perception)"
        )

    @staticmethod
    def open(
        url: str | Path,
        *,
        verify: bool = True,
        cache: ShardCache | CacheConfig | None = None,
        storage_options: StorageOptions | None = None,
        by_range: bool = False,
        index_bytes: int = INDEX_BYTES,
    ) -> ShardSet:
        """Open the set at a folder path or URL. A remote one needs `cache`, or is read `by_range`: each row by a
        request of its own, which suits a few small fields or records, and no training.

        `verify=False` skips the hash of each read, not the checks made here. `storage_options` are the store's
        (docs/storage.md). `index_bytes` of indexes are kept in memory, those used last; an order over all of a larger
        set reads them again and again. Raises IncompleteSet for a missing manifest, tar or index, CorruptShard for one
        that is not as recorded, StoreFailed for a store that does not answer; of a set of more than 65,536 records the
        index of a shard is looked at when something in the shard is asked for, and so may its error come then. Sizes of
        more than 1,000 tars are looked at by a thread meanwhile; what it finds ends the next read.
        """
        cache = cache.build() if isinstance(cache, CacheConfig) else cache
        folder = open_folder(url, cache, storage_options)
        if folder.is_remote and cache is None and not by_range:
            raise ConfigError(
                f"{folder} is remote; open it with cache=CacheConfig(folder, max_bytes), or by_range=True for a few"
            )
        manifest = Manifest.load(folder)

        layout = Layout(manifest.schema)
        quickly = NativePages(manifest.schema, layout)

        def load(number: int) -> Page:
            shard = manifest.shards[number]
            payload = folder.lend(f"{shard.name}.idx", shard.idx_sha256)
            page = quickly.page(payload, shard)
            if page is not None:
                return page
            alone = replace(manifest, shards=(shard,))
            index = join(alone, [ShardIndex.load(bytes(payload), manifest.schema, f"{shard.name}.idx")])
            check_index(alone, index)
            return page_of(index, layout)

        # of a remote set it were a round trip a shard; what is fetched is checked then
        sizes = [] if folder.is_remote else [TarSizes(folder, manifest.shards)]
        pages = KeptPages(load, index_bytes, in_parallel=folder.is_remote)
        shards = ShardSet(folder, manifest, pages, verify=verify, index_bytes=index_bytes, sizes=sizes)
        if shards.n_records <= _SMALL_RECORDS:
            shards.paged.check()
        return shards

    def check_sizes(self) -> None:
        """Wait until the sizes of all local tars are looked at. Raises IncompleteSet or CorruptShard, naming the first
        that is missing or has another."""
        for one in self.sizes:
            one.wait()

    @property
    def index(self) -> SetIndex:
        """Every record's entries as plain arrays, made and kept when asked for: some 400 bytes a record."""
        return self.paged.whole

    @property
    def n_rows(self) -> int:
        """Rows of all items. Not in the manifest: every index is looked at, once."""
        return int(self.paged.row_counts.sum())

    @property
    def cache(self) -> ShardCache | None:
        """What tars arrive through, if anything."""
        return self.folder.cache

    @property
    def part_shards(self) -> tuple[int, ...]:
        """How many shards each of the sets has that are read as this one: of a set, its own."""
        return (len(self.manifest.shards),)

    def folder_of(self, shard: int) -> Folder:
        """Where a shard lies."""
        return self.folder

    def item(self, item: int) -> ItemRef:
        """The item with a global number; IndexError outside 0 .. n_items - 1."""
        _check_number("item", item, self.n_items, self.manifest.name)
        return ItemRef(*self.paged.item(item))

    def items_of_record(self, record: int) -> range:
        """Global numbers of the items of a record."""
        _check_number("record", record, self.n_records, self.manifest.name)
        return self.paged.items_of(record)

    def record(self, record: int) -> StoredRecord:
        """The record with a global number; IndexError outside 0 .. n_records - 1."""
        _check_number("record", record, self.n_records, self.manifest.name)
        return StoredRecord(self, record)

    def shard_items(self, unit: str = "item") -> Counts:
        """Items (or rows of the item axis, `unit="row"`) per shard, for a WindowedOrder."""
        found = self._shard_items.get(unit)
        if found is None:
            paged = self.paged
            found = Counts(paged.row_counts) if unit == "row" else Counts(paged.item_counts, paged.item_ends)
            self._shard_items[unit] = found
        return found

    def table(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, info) of a table of the set, checked. IncompleteSet naming the available ones if there is
        none.
        """
        for table in self.manifest.tables:
            if table.name == name:
                return read_table(self.folder, table)
        names = [table.name for table in self.manifest.tables]
        raise IncompleteSet(f"{self.manifest.name} has no table {name!r}, only {names}; rebuild it with one")

    def shard_bytes(self, shard: int) -> TarBytes:
        """A shard's tar, sliced like uint8 [tar_bytes]."""
        return self.hold(shard)()

    def hold(self, shard: int) -> Hold:
        """Start bringing a shard to this machine, and keep it there while the result is referenced; calling it gives
        the bytes."""
        for one in self.sizes:
            one.check()
        named = self.manifest.shards[shard]
        return self.folder_of(shard).hold(f"{named.name}.tar", named.tar_bytes, named.tar_sha256)

    def read(self, field: Field, record: int, first: int = 0, n: int | None = None) -> memoryview:
        """Bytes of rows first .. first + n - 1 of a field (all rows by default), checked; they are the caller's."""
        shard, page, place = self.paged.at(record)
        entry: list[int] = page.row(place)[self.paged.layout.field(field.name)][:4].tolist()
        offset, length, rows, first_hash = entry
        n = rows - first if n is None else n
        if not 0 <= first <= first + n <= rows:
            where = f"{page.key(place)}.{field.member}"
            raise SchemaMismatch(f"{where}: rows {first} to {first + n} asked for, it has {rows}")
        row_bytes = length // rows if rows else 0
        start = offset + first * row_bytes
        payload = self.shard_bytes(shard)[start : start + n * row_bytes].data
        if self.verify:
            expected = page.hash[first_hash + first :][:n].tolist()
            for row in range(n):
                found = xxhash.xxh3_64_intdigest(payload[row * row_bytes : (row + 1) * row_bytes])
                if found != expected[row]:
                    raise self.corrupt(field, record, first + row)
        return payload

    def sides(self, field: Field, record: int) -> list[int]:
        """The shape of a record's array."""
        _, page, place = self.paged.at(record)
        return page.row(place)[self.paged.layout.field(field.name)][4:].tolist()

    def corrupt(self, field: Field, record: int, row: int) -> CorruptShard:
        """The error for a row whose bytes have another hash than the index says."""
        number, page, place = self.paged.at(record)
        offset, length, rows = page.row(place)[self.paged.layout.field(field.name)][:3].tolist()
        return CorruptShard(
            f"{self.manifest.shards[number].name}.tar in {self.folder_of(number)}: "
            f"record {page.key(place)}, field {field.name}, row {row}, "
            f"at byte {offset + row * (length // max(1, rows))}: xxh3 differs from the index; "
            "rebuild this shard or download it again"
        )


class StoredRecord:
    """One record, read field by field as asked."""

    def __init__(self, shards: ShardSet, number: int) -> None:
        self.shards = shards
        self.number = number
        self._meta: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """The record's key."""
        return self.shards.paged.key(self.number)

    @property
    def meta(self) -> dict[str, Any]:
        """The parsed meta member; parsed once, at first use."""
        meta = self._meta
        if meta is None:
            meta = self._meta = parse_meta(self.payload(META), self.key)
        return meta

    def payload(self, field: str) -> memoryview:
        """A member's bytes, checked; for npy the array data without its header."""
        return self.shards.read(self.shards.schema.field(field), self.number)

    def array(self, field: str, first: int = 0, n: int | None = None) -> np.ndarray:
        """Rows first .. first + n - 1 of an npy field [n, *row_shape]; the whole array by default.

        A field without an axis has one row, itself, and comes as [*shape].
        """
        known = self.shards.schema.field(field)
        if known.codec != "npy":
            raise SchemaMismatch(f"field {field} is {known.codec}, not npy; use payload({field!r})")
        payload = self.shards.read(known, self.number, first, n)
        shape = self.shards.sides(known, self.number)
        if known.axis:
            shape[0] = -1
        return np.frombuffer(payload, storage_dtype(known.dtype)).reshape(shape)


def _check_number(kind: str, number: int, count: int, name: str) -> None:
    if not 0 <= number < count:
        raise IndexError(f"{kind} {number} of {name}: expected 0 to {count - 1}")
