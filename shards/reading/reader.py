"""Random access to a finished set: records and items by number, read by offset, every byte checked before it
is given out.

Trusts the manifest and nothing else: opening checks that all files exist with the recorded sizes and that the
indexes have the recorded hashes; every read checks the xxh3 of what it read. Local tars are read in place; remote
ones arrive through a ShardCache, or by ranges. What was read is the reader's own: a file that is edited or cut later
changes nothing of it, and the next read says so. Members that nobody reads are not hashed: `python -m shards.verify`
does that.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import xxhash

from shards.contract.canonical import parse_meta
from shards.contract.index import ShardIndex
from shards.contract.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.contract.npy import storage_dtype
from shards.contract.schema import META, Field
from shards.contract.tables import read_table
from shards.errors import ConfigError, CorruptShard, IncompleteSet, SchemaMismatch
from shards.reading.setindex import SetIndex, join
from shards.reading.sound_index import check_index
from shards.storage.cache import CacheConfig, ShardCache
from shards.storage.open_files import TarBytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, Hold, open_folder

if TYPE_CHECKING:
    from shards.reading.mixing import Mixing

_OPEN_THREADS = 8


class ItemRef(NamedTuple):
    """An item: its record, and its run of rows on the schema's item axis."""

    record: int
    first_row: int
    n_rows: int


class ShardSet:
    """A set opened for reading; safe to share between threads. Make one with `ShardSet.open`."""

    mixing: Mixing | None = None  # how often each is drawn from, of several sets that are read as one

    def __init__(self, folder: Folder, manifest: Manifest, index: SetIndex, *, verify: bool) -> None:
        self.folder = folder
        self.manifest = manifest
        self.schema = manifest.schema
        self.index = index
        self.verify = verify
        self.n_records = len(index.shard)
        self.n_items = len(index.items)
        self.n_rows = int(index.items[:, 2].sum())

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
    ) -> ShardSet:
        """Open the set at a folder path or URL. A remote one needs `cache`, or is read `by_range`: each row by a
        request of its own, which suits a few small fields or records, and no training.

        `verify=False` skips the hash of each read, not the checks made here. `storage_options` are the store's
        (docs/storage.md). Raises IncompleteSet for a missing manifest, tar or index, CorruptShard for one that is not
        as recorded, StoreFailed for a store that does not answer.
        """
        cache = cache.build() if isinstance(cache, CacheConfig) else cache
        folder = open_folder(url, cache, storage_options)
        if folder.is_remote and cache is None and not by_range:
            raise ConfigError(
                f"{folder} is remote; open it with cache=CacheConfig(folder, max_bytes), or by_range=True for a few"
            )
        manifest = Manifest.parse(folder.read(MANIFEST_NAME), str(folder))

        def load(shard: ShardEntry) -> ShardIndex:
            if not folder.is_remote:  # a round trip a shard; what is fetched is checked then
                folder.check_size(f"{shard.name}.tar", shard.tar_bytes)
            payload = folder.read(f"{shard.name}.idx", shard.idx_sha256)
            return ShardIndex.load(payload, manifest.schema, f"{shard.name}.idx")

        with ThreadPoolExecutor(_OPEN_THREADS) as pool:  # one round trip per shard for remote sets
            indexes = list(pool.map(load, manifest.shards))
        index = join(manifest, indexes)
        check_index(manifest, index)
        return ShardSet(folder, manifest, index, verify=verify)

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
        return ItemRef(*self.index.items[item].tolist())

    def items_of_record(self, record: int) -> range:
        """Global numbers of the items of a record."""
        _check_number("record", record, self.n_records, self.manifest.name)
        return range(int(self.index.first_item[record]), int(self.index.first_item[record + 1]))

    def record(self, record: int) -> StoredRecord:
        """The record with a global number; IndexError outside 0 .. n_records - 1."""
        _check_number("record", record, self.n_records, self.manifest.name)
        return StoredRecord(self, record)

    def shard_items(self, unit: str = "item") -> tuple[int, ...]:
        """Items (or rows of the item axis, `unit="row"`) per shard, for a WindowedOrder."""
        weight = self.index.items[:, 2] if unit == "row" else np.ones(self.n_items, np.int64)
        shard_of_item = self.index.shard[self.index.items[:, 0]]
        totals = np.zeros(len(self.manifest.shards), np.int64)
        np.add.at(totals, shard_of_item, weight)
        return tuple(totals.tolist())

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
        named = self.manifest.shards[shard]
        return self.folder_of(shard).hold(f"{named.name}.tar", named.tar_bytes, named.tar_sha256)

    def read(self, field: Field, record: int, first: int = 0, n: int | None = None) -> memoryview:
        """Bytes of rows first .. first + n - 1 of a field (all rows by default), checked; they are the caller's."""
        table = self.index.fields[field.name]
        rows = int(table.rows[record])
        n = rows - first if n is None else n
        if not 0 <= first <= first + n <= rows:
            where = f"{self.index.key(record)}.{field.member}"
            raise SchemaMismatch(f"{where}: rows {first} to {first + n} asked for, it has {rows}")
        row_bytes = int(table.length[record]) // rows if rows else 0
        start = int(table.offset[record]) + first * row_bytes
        payload = self.shard_bytes(int(self.index.shard[record]))[start : start + n * row_bytes].data
        if self.verify:
            expected = table.hash[int(table.first_hash[record]) + first :][:n].tolist()
            for row in range(n):
                found = xxhash.xxh3_64_intdigest(payload[row * row_bytes : (row + 1) * row_bytes])
                if found != expected[row]:
                    raise self.corrupt(field, record, first + row)
        return payload

    def corrupt(self, field: Field, record: int, row: int) -> CorruptShard:
        """The error for a row whose bytes have another hash than the index says."""
        table = self.index.fields[field.name]
        row_bytes = int(table.length[record]) // max(1, int(table.rows[record]))
        number = int(self.index.shard[record])
        return CorruptShard(
            f"{self.manifest.shards[number].name}.tar in {self.folder_of(number)}: "
            f"record {self.index.key(record)}, field {field.name}, row {row}, "
            f"at byte {int(table.offset[record]) + row * row_bytes}: xxh3 differs from the index; "
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
        return self.shards.index.key(self.number)

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
        shape = self.shards.index.fields[field].shape[self.number].tolist()
        if known.axis:
            shape[0] = -1
        return np.frombuffer(payload, storage_dtype(known.dtype)).reshape(shape)


def _check_number(kind: str, number: int, count: int, name: str) -> None:
    if not 0 <= number < count:
        raise IndexError(f"{kind} {number} of {name}: expected 0 to {count - 1}")
