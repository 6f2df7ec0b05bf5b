"""The shards of a large set (format version 2), looked up in the files beside its manifest when they are asked for.

What a reader needs of every shard, its numbers, is read when the set is opened; a page of names and hashes when a shard
of it is asked for, and the pages asked for last are kept. Each file has the hash that the manifest says before anything
of it is believed. What stands in them is `shards.contract.shard_pages`'.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock

import numpy as np

from shards.contract.entries import ShardEntry
from shards.contract.shard_list import NUMBERS, ShardList, Shards
from shards.contract.shard_pages import COUNTS_NAME, PageList, counts_in, page_in, page_name
from shards.errors import ContractError

Read = Callable[[str, str], bytes]  # a file of the set by its name, which must have a sha256

_KEPT = 256  # pages: 5 MB
_DIGEST_BYTES, _DIGITS = 32, 64  # of a SHA-256


class PagedShards(Shards):
    """The shards of a manifest of version 2. May be asked from several threads.

    Args:
        listed: what the manifest says of them.
        read: of the set's folder.
        where: the folder, in words; `form` begins a line on an entry that does not fit.

    Raises:
        IncompleteSet, CorruptShard, SchemaMismatch: a file is missing, has other bytes, or says what no shard can have;
            of a page when a shard of it is asked for.
    """

    __slots__ = ("_kept", "_lock", "_numbers", "_read", "_where", "listed")

    def __init__(self, listed: PageList, read: Read, where: str, form: str) -> None:
        self.listed, self._read, self._where = listed, read, where
        self._numbers = counts_in(read(COUNTS_NAME, listed.counts_sha256), listed.number, where, form)
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return ShardList.of, (tuple(self),)  # elsewhere there may be no such folder

    def numbers(self, name: str) -> np.ndarray:
        return self._numbers[name]

    @property
    def are_distinct(self) -> bool:
        """Each page sees to it when it is read; of all pages, whoever reads all of them."""
        return True

    def __len__(self) -> int:
        return self.listed.number

    def __iter__(self) -> Iterator[ShardEntry]:
        for page in range(len(self.listed.pages_sha256)):
            yield from self._entries(page)

    def sound(self) -> tuple[tuple[ShardEntry, ...], list[ContractError]]:
        """(the entries of all pages that can be read, what is wrong with the others)."""
        entries: list[ShardEntry] = []
        faults: list[ContractError] = []
        for page in range(len(self.listed.pages_sha256)):
            try:
                entries += self._entries(page)
            except ContractError as error:
                faults.append(error)
        return tuple(entries), faults

    def _entry(self, number: int) -> ShardEntry:
        page, place = divmod(number, self.listed.page_shards)
        row = self._page(page)[place].tobytes()  # the name, filled up, and two digests: quicker than by their names
        name, digits = row[: -2 * _DIGEST_BYTES].rstrip(b"\0").decode(), row[-2 * _DIGEST_BYTES :].hex()
        records, items, tar_bytes, rejects = [self._numbers[count].item(number) for count in NUMBERS]
        return ShardEntry(name, records, items, tar_bytes, digits[:_DIGITS], digits[_DIGITS:], rejects)

    def _entries(self, page: int) -> list[ShardEntry]:
        """All of a page, which is not kept."""
        rows, start = self._loaded(page), page * self.listed.page_shards
        names = [name.decode() for name in rows["name"].tolist()]
        numbers = [self._numbers[name][start : start + len(rows)].tolist() for name in NUMBERS]
        hashes = [rows[name].tobytes().hex() for name in ("tar_sha256", "idx_sha256")]
        digits = [[text[at : at + _DIGITS] for at in range(0, len(text), _DIGITS)] for text in hashes]
        columns = zip(names, *numbers, *digits, strict=True)
        return [
            ShardEntry(name, records, items, tar_bytes, tar_sha256, idx_sha256, rejects)
            for name, records, items, tar_bytes, rejects, tar_sha256, idx_sha256 in columns
        ]

    def _page(self, number: int) -> np.ndarray:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        page = self._loaded(number)
        with self._lock:
            self._kept[number] = page
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return page

    def _loaded(self, number: int) -> np.ndarray:
        name, first = page_name(number), number * self.listed.page_shards
        count = min(self.listed.page_shards, self.listed.number - first)
        return page_in(self._read(name, self.listed.pages_sha256[number]), count, f"{self._where}/{name}")
