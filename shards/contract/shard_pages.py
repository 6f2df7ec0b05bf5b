"""The files that list the shards of a large set (format version 2), beside its manifest, which has their hashes.

    shards/counts.npy    a row of numbers for every shard: records, items, tar_bytes, rejects
    shards/000000.npy    names and hashes of the first `page_shards` shards; 000001.npy of the next, and so on

Structured arrays that `numpy.load` reads. Owns their form, writing and removing them; which of them is read when is
`shards.contract.paged_shards`'.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from shards.contract.entries import LARGEST, ShardEntry, check_sha256
from shards.contract.npy import rows_header
from shards.contract.schema import are_key_lines, check_key
from shards.contract.shard_list import NUMBERS, numbers_of
from shards.errors import CorruptShard, SchemaMismatch
from shards.native.library import address_of, library
from shards.storage.atomic import sha256_bytes
from shards.storage.storage import Folder

LISTED_SHARDS = 1024  # a manifest lists so many itself: 3 ms for a reader that needs a few of them
PAGE_SHARDS = 256  # some 20 kB
FOLDER = "shards"
COUNTS_NAME = f"{FOLDER}/counts.npy"
_FILES = re.compile(r"counts\.npy|[0-9]{6,}\.npy")
_COUNTS = np.dtype([(name, "<i8") for name in NUMBERS])
_DIGEST = ("u1", (32,))  # a SHA-256
_LONGEST_NAME = 255  # of a file


@dataclass(frozen=True)
class PageList:
    """What a manifest of version 2 says of its shards: how many, and the hash of every file that lists them."""

    number: int
    page_shards: int
    counts_sha256: str
    pages_sha256: tuple[str, ...]

    @staticmethod
    def from_json(data: Any, where: str) -> PageList:
        """The list in `to_json`'s data; SchemaMismatch naming `where` for anything else."""
        expected = sorted(PageList.__dataclass_fields__)
        if not isinstance(data, dict) or sorted(data) != expected:
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise SchemaMismatch(f"{where}shards is {str(found)[:80]}; expected an object with {', '.join(expected)}")
        number, page_shards, pages = data["number"], data["page_shards"], data["pages_sha256"]
        for name, value, least in (("number", number, 0), ("page_shards", page_shards, 1)):
            if type(value) is not int or not least <= value < LARGEST:
                raise SchemaMismatch(f"{where}shards.{name} is {value!r:.80}; expected {least} to 2^62")
        if not isinstance(pages, list) or len(pages) != -(-number // page_shards):
            found = f"{len(pages)} of them" if isinstance(pages, list) else type(pages).__name__
            raise SchemaMismatch(
                f"{where}shards.pages_sha256 is {found}; expected a list of {-(-number // page_shards)}, for {number} "
                f"shards in pages of {page_shards}"
            )
        for sha256 in (data["counts_sha256"], *pages):
            check_sha256(sha256, f"{where}shards")
        return PageList(number, page_shards, data["counts_sha256"], tuple(pages))

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` is the inverse."""
        return {**asdict(self), "pages_sha256": list(self.pages_sha256)}

    def files(self) -> dict[str, str]:
        """sha256 of every file by its name."""
        return {COUNTS_NAME: self.counts_sha256, **{page_name(n): one for n, one in enumerate(self.pages_sha256)}}


def page_name(number: int) -> str:
    """The file of a page."""
    return f"{FOLDER}/{number:06d}.npy"


def encoded(shards: Sequence[ShardEntry]) -> tuple[PageList, dict[str, bytes]]:
    """(what the manifest is to say, the files by name) of these shards."""
    counts = np.empty(len(shards), _COUNTS)
    for name in NUMBERS:
        counts[name] = numbers_of(shards, name)
    entries = list(shards)
    dtype = _page_dtype(max((len(entry.name) for entry in entries), default=1))
    starts = range(0, len(entries), PAGE_SHARDS)
    pages = [_rows_file(_page(entries[start : start + PAGE_SHARDS], dtype)) for start in starts]
    file = _rows_file(counts)
    listed = PageList(len(entries), PAGE_SHARDS, sha256_bytes(file), tuple(map(sha256_bytes, pages)))
    return listed, {COUNTS_NAME: file, **{page_name(number): page for number, page in enumerate(pages)}}


def counts_in(payload: bytes, number: int, where: str, form: str) -> dict[str, np.ndarray]:
    """i64 [number] by name of the count, where they lie in the file; SchemaMismatch for what no shard can have."""
    rows = _rows_in(payload, _COUNTS, number, f"{where}/{COUNTS_NAME}")
    counts = {name: rows[name] for name in NUMBERS}
    every = rows.view(_COUNTS[0]).reshape(number, len(NUMBERS))
    if number and (every.min() < 0 or int(every.max()) * number >= LARGEST):  # one of them, perhaps
        _check_counts(counts, form)
    return counts


def _check_counts(counts: Mapping[str, np.ndarray], form: str) -> None:
    for name, column in counts.items():
        if not 0 <= column.min() <= column.max() < LARGEST:
            place = int(np.flatnonzero((column < 0) | (column >= LARGEST))[0])
            raise SchemaMismatch(f"{form}shard {place}: {name} is {column[place]}; expected 0 to 2^62")
        if column.sum(dtype=np.float64) >= LARGEST:
            raise SchemaMismatch(f"{form}{name} of all shards sum to {sum(column.tolist())}; expected 0 to 2^62")


def page_in(payload: bytes, number: int, where: str) -> np.ndarray:
    """[number] rows with `name` as bytes, `tar_sha256` and `idx_sha256` as u1 [32]; names are such that a file may have
    them, and differ."""
    row_bytes = (len(payload) - _header_bytes(payload)) // max(1, number)
    width = min(max(1, row_bytes - 64), _LONGEST_NAME)
    rows = _rows_in(payload, _page_dtype(width), number, where)
    native = library()
    if native is not None and native.are_names(number, address_of(rows), rows.itemsize, width):
        return rows
    names = rows["name"].tolist()
    if not are_key_lines(b"\n".join([b"", *names]).decode("latin1"), number):
        for name in names:
            check_key(name.decode("latin1"))
    if len(set(names)) != number:
        raise CorruptShard(f"{where}: it names a shard twice; the file was edited, restore it")
    return rows


def write_files(folder: Folder, files: Mapping[str, bytes]) -> None:
    """Make these the files that list a folder's shards; the manifest of those that were there goes first."""
    left = files_found(folder)
    if files or left:
        folder.remove("manifest.json")
    for name, payload in files.items():
        folder.write(name, payload)
    for name in left - files.keys():
        folder.remove(name)


def files_found(folder: Folder) -> set[str]:
    """Files of any list that are in the folder of a set."""
    return {f"{FOLDER}/{name}" for name in folder.below(FOLDER).names("*.npy") if _FILES.fullmatch(name)}


def sweep_files(folder: Folder, named: Mapping[str, Any]) -> None:
    """Remove the files of other lists."""
    for name in files_found(folder) - named.keys():
        folder.remove(name)


@cache
def _page_dtype(width: int) -> np.dtype:
    return np.dtype([("name", f"S{width}"), ("tar_sha256", *_DIGEST), ("idx_sha256", *_DIGEST)])


def _page(entries: Sequence[ShardEntry], dtype: np.dtype) -> np.ndarray:
    rows = np.empty(len(entries), dtype)
    rows["name"] = [entry.name.encode("ascii") for entry in entries]
    for name in ("tar_sha256", "idx_sha256"):
        digests = bytes.fromhex("".join(getattr(entry, name) for entry in entries))
        rows[name] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
    return rows


def _rows_file(rows: np.ndarray) -> bytes:
    return rows_header(rows.dtype, len(rows)) + rows.tobytes()


@lru_cache(maxsize=64)
def _header(dtype: np.dtype, number: int) -> bytes:
    return rows_header(dtype, number).rstrip()


def _header_bytes(payload: bytes) -> int:
    """Up to the first row, as the file says; what it says is compared with what it should."""
    return 10 + (struct.unpack("<H", payload[8:10])[0] if len(payload) >= 10 else 0)


def _rows_in(payload: bytes, dtype: np.dtype, number: int, where: str) -> np.ndarray:
    """[number] rows; CorruptShard for a file of another form."""
    header = _header(dtype, number)
    start = _header_bytes(payload)
    # the length of the header, in its bytes 8 and 9, depends on how its writer fills it up
    found = payload[:8] + header[8:10] + payload[10:start].rstrip()
    if found != header or len(payload) != start + number * dtype.itemsize:
        raise CorruptShard(
            f"{where}: is no npy of {number} rows {dtype.descr}, it begins {payload[:start]!r:.200} and has "
            f"{len(payload)} bytes; restore the file"
        )
    return np.frombuffer(payload, dtype, number, start)
