"""The index of a set, a shard at a time: read when a sample of the shard is asked for, checked as a whole, kept while
there is room.

Owns where a global number lies: which shard, by the counts of the manifest, and what is there, by the shard's page.
What is held beside the pages is a few numbers for each shard, and nothing for a record. Global numbers count over the
whole set in manifest order. Says where bytes lie; `reader` and `stream` read them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np

from shards.contract.manifest import Manifest
from shards.contract.shard_list import numbers_of
from shards.reading.page import FIRST_ROW, KEY_LENGTH, KEY_START, N_ROWS, PLACE, ROW_END, Layout, Page, table_of
from shards.reading.setindex import FieldTable, SetIndex

_BLOCK = 16  # pages in hand at a time beside those that are kept
_FETCHING_THREADS = 8

Pages = Callable[[Sequence[int]], list[Page]]  # of shards, by their numbers


class KeptPages:
    """Pages of a set, loaded when asked for, the least lately used ones dropped beyond `limit_bytes`. May be called
    from several threads.

    Args:
        load: reads and checks the page of a shard.
        in_parallel: several at once, where each is a round trip.
    """

    def __init__(self, load: Callable[[int], Page], limit_bytes: int, *, in_parallel: bool) -> None:
        self._load, self._limit, self._in_parallel = load, limit_bytes, in_parallel
        self._kept: OrderedDict[int, Page] = OrderedDict()
        self._lock, self._bytes = Lock(), 0

    def __call__(self, shards: Sequence[int]) -> list[Page]:
        with self._lock:
            found = {shard: self._kept[shard] for shard in shards if shard in self._kept}
            for shard in found:
                self._kept.move_to_end(shard)
        missing = [shard for shard in shards if shard not in found]
        if self._in_parallel and len(missing) > 1:
            with ThreadPoolExecutor(min(_FETCHING_THREADS, len(missing))) as pool:
                loaded = dict(zip(missing, pool.map(self._load, missing), strict=True))
        else:
            loaded = {shard: self._load(shard) for shard in missing}
        if loaded:
            self._keep(loaded)
        return [found[shard] if shard in found else loaded[shard] for shard in shards]

    def _keep(self, pages: dict[int, Page]) -> None:
        with self._lock:
            for shard, page in pages.items():
                if shard not in self._kept:  # another thread may have loaded it, too
                    self._kept[shard] = page
                    self._bytes += page.nbytes
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


@dataclass(frozen=True)
class Found:
    """Where P samples are."""

    items: np.ndarray  # i64 [P] global
    records: np.ndarray  # i64 [P] global
    shards: np.ndarray  # i64 [P]
    rows: np.ndarray  # i64 [P] on the item axis of the record
    runs: np.ndarray  # i64 [P, 3]: place of the item in its record, its first row, its number of rows
    columns: np.ndarray  # i64 [P, C] of the record, as of the layout
    hashes: np.ndarray  # u64 [P, F] of the row in each field of the item axis, of the first row in others
    keys: list[bytes]  # of the records


class PagedIndex:
    """R records and I items of S shards."""

    def __init__(self, manifest: Manifest, layout: Layout, pages: Pages) -> None:
        self.layout, self.pages = layout, pages
        self.record_counts = numbers_of(manifest.shards, "records")  # [S]
        self.item_counts = numbers_of(manifest.shards, "items")  # [S]
        self.record_ends, self.item_ends = np.cumsum(self.record_counts), np.cumsum(self.item_counts)  # [S] each

    @cached_property
    def _ends(self) -> list[int]:
        """What bisect is quicker in than in an array."""
        return self.record_ends.tolist()

    @cached_property
    def row_counts(self) -> np.ndarray:
        """i64 [S]: rows of the items of each shard. The manifest has no such numbers: every page is looked at, once."""
        return np.array([page.n_rows for page in self._all_pages()], np.int64)

    @cached_property
    def whole(self) -> SetIndex:
        """Every record's entries as plain arrays, for who looks at all of them: some 400 bytes a record."""
        return _joined(list(self._all_pages()), self.layout)

    def check(self) -> None:
        """Look at every page, which is checked when it is loaded."""
        for _ in self._all_pages():
            pass

    def shard_of(self, records: np.ndarray) -> np.ndarray:
        """i64 [P]: the shards of records i64 [P]."""
        return np.searchsorted(self.record_ends, records, side="right")

    def first_record(self, shard: int) -> int:
        """Number of the first record of a shard."""
        return int(self.record_ends[shard] - self.record_counts[shard])

    def at(self, record: int) -> tuple[int, Page, int]:
        """(shard, its page, number in the shard) of a record."""
        shard = bisect_right(self._ends, record)
        return shard, self.pages([shard])[0], record - self.first_record(shard)

    def key(self, record: int) -> str:
        """Key of a record."""
        _, page, place = self.at(record)
        return page.key(place)

    def keys(self) -> Iterator[str]:
        """Of all records, in order."""
        for page in self._all_pages():
            yield from page.key_list()

    def item(self, item: int) -> tuple[int, int, int]:
        """(record, first row, number of rows) of an item."""
        found = self.find(np.array([item]), lambda places, n_rows: np.zeros_like(n_rows))
        return int(found.records[0]), int(found.runs[0, 1]), int(found.runs[0, 2])

    def items_of(self, record: int) -> range:
        """Global numbers of the items of a record."""
        shard, page, place = self.at(record)
        first, count = page.row(place)[:2].tolist()
        start = int(self.item_ends[shard] - self.item_counts[shard]) + first
        return range(start, start + count)

    def find(self, samples: np.ndarray, draw: Callable[[np.ndarray, np.ndarray], np.ndarray] | None) -> Found:
        """Where samples i64 [P] are: items, of whose rows `draw(places in samples [p], their numbers of rows [p])` says
        which, or, without it, rows of all items."""
        counts = self.row_counts if draw is None else self.item_counts
        ends = np.cumsum(counts) if draw is None else self.item_ends
        shards = np.searchsorted(ends, samples, side="right")  # [P]
        found = self._room_for(shards)
        by_shard = np.argsort(shards, kind="stable")
        groups = np.split(by_shard, np.flatnonzero(np.diff(shards[by_shard])) + 1) if len(samples) else []
        for start in range(0, len(groups), _BLOCK):
            block = groups[start : start + _BLOCK]
            numbers = [int(shards[places[0]]) for places in block]
            for shard, places, page in zip(numbers, block, self.pages(numbers), strict=True):
                inside = samples[places] - (ends[shard] - counts[shard])
                self._fill(found, shard, page, places, inside, draw)
        return found

    def _fill(
        self,
        found: Found,
        shard: int,
        page: Page,
        places: np.ndarray,
        inside: np.ndarray,
        draw: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
    ) -> None:
        """The samples at these places, which are those with numbers `inside` of a shard."""
        items = page.items_of_rows(inside) if draw is None else inside
        runs = page.items.at(items)  # [p, 5]
        n_rows = runs[:, N_ROWS]
        if draw is None:
            rows = runs[:, FIRST_ROW] + inside - (runs[:, ROW_END] - n_rows)
        else:
            rows = runs[:, FIRST_ROW] + draw(places, n_rows)
        columns = page.records.at(runs[:, 0])  # [p, C]
        at = columns[:, self.layout.first_hash] + rows[:, None] * self.layout.on_item_axis  # [p, F]
        found.items[places] = items + (self.item_ends[shard] - self.item_counts[shard])
        found.records[places] = runs[:, 0] + self.first_record(shard)
        found.rows[places] = rows
        found.runs[places] = runs[:, PLACE : N_ROWS + 1]
        found.columns[places] = columns
        spans = zip(places.tolist(), columns[:, KEY_START].tolist(), columns[:, KEY_LENGTH].tolist(), strict=True)
        for place, start, length in spans:
            found.keys[place] = page.keys[start : start + length]
        found.hashes[places] = page.hash[np.minimum(at, len(page.hash) - 1)]  # a field may have no rows, and be last

    def _room_for(self, shards: np.ndarray) -> Found:
        count, fields = len(shards), len(self.layout.names)
        one = [np.empty(count, np.int64) for _ in range(3)]
        return Found(
            one[0], one[1], shards, one[2], np.empty((count, 3), np.int64),
            np.empty((count, self.layout.width), np.int64), np.empty((count, fields), np.uint64),
            [b""] * count,
        )  # fmt: skip

    def _all_pages(self) -> Iterator[Page]:
        for start in range(0, len(self.record_ends), _BLOCK):
            yield from self.pages(range(start, min(start + _BLOCK, len(self.record_ends))))


def _joined(pages: Sequence[Page], layout: Layout) -> SetIndex:
    """One index of all pages, every number counted on."""
    records = [len(page.records) for page in pages]
    before = np.cumsum(records) - np.array(records, np.int64)
    runs = [page.items.all() for page in pages]
    items = np.concatenate([np.empty((0, 3), np.int64), *(run[:, [0, FIRST_ROW, N_ROWS]] for run in runs)])
    items[:, 0] += np.repeat(before, [len(run) for run in runs])
    keys = [key.encode() for page in pages for key in page.key_list()]
    hashes = [len(page.hash) for page in pages]
    places = np.cumsum(hashes) - np.array(hashes, np.int64)
    every = np.concatenate([np.empty(0, np.uint64), *(page.hash for page in pages)])

    def field(name: str) -> FieldTable:
        tables = [table_of(page, layout, name) for page in pages]
        firsts = [table.first_hash + place for table, place in zip(tables, places.tolist(), strict=True)]
        return FieldTable(
            offset=np.concatenate([table.offset for table in tables]),
            length=np.concatenate([table.length for table in tables]),
            rows=np.concatenate([table.rows for table in tables]),
            shape=np.concatenate([table.shape for table in tables]),
            first_hash=np.concatenate(firsts),
            hash=every,
        )

    return SetIndex(
        shard=np.repeat(np.arange(len(pages)), records),
        items=items,
        first_item=np.searchsorted(items[:, 0], np.arange(sum(records) + 1)),
        row_ends=np.cumsum(items[:, 2]),
        keys=b"".join(keys),
        key_ends=np.cumsum([0, *map(len, keys)]).astype(np.int64),
        fields={name: field(name) for name in layout.names},
    )
