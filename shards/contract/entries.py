"""What a manifest says of one file, and how a JSON object becomes a frozen dataclass of plain values.

Every value must be of the type its field declares, and of a form that is safe to make a file name of: names and hashes
of a manifest say which files are opened. What the entries say together is `shards.contract.manifest`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

from shards.contract.schema import check_key
from shards.errors import SchemaMismatch

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST = 2**62  # what offsets are added to in 64 bits


@dataclass(frozen=True)
class ShardEntry:
    """One finished shard: files `<name>.tar` and `<name>.idx`. `rejects` counts the examples left out of
    it.
    """

    name: str
    records: int
    items: int
    tar_bytes: int
    tar_sha256: str
    idx_sha256: str
    rejects: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` is the inverse."""
        return asdict(self)

    @staticmethod
    def from_json(data: Any, where: str) -> ShardEntry:
        """The entry in `to_json`'s data; SchemaMismatch naming `where` for anything else."""
        entry = typed(ShardEntry, data, where)
        check_key(entry.name)
        for sha256 in (entry.tar_sha256, entry.idx_sha256):
            check_sha256(sha256, where)
        return entry


@dataclass(frozen=True)
class TableEntry:
    """One finished table: `tables/<name>.safetensors` (sha256) and `tables/<name>.json` (info_sha256)."""

    name: str
    sha256: str
    rows: int
    info_sha256: str = ""

    @staticmethod
    def from_json(data: Any, where: str) -> TableEntry:
        """The entry in a manifest's data; SchemaMismatch naming `where` for anything else."""
        entry = typed(TableEntry, data, where)
        check_key(entry.name)
        check_sha256(entry.sha256, where)
        if entry.info_sha256:
            check_sha256(entry.info_sha256, where)
        return entry


def check_sha256(text: Any, where: str) -> None:
    """SchemaMismatch unless `text` is a SHA-256 in hex."""
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise SchemaMismatch(f"{where}: {text!r:.80} is no SHA-256; expected 64 digits of 0-9 and a-f")


def are_sha256(texts: Sequence[str]) -> bool:
    """Whether each is a SHA-256 in hex."""
    return not set(map(len, texts)) - {64} and not "".join(texts).encode("utf-8", "surrogatepass").translate(
        None, b"0123456789abcdef"
    )


def typed(cls: type[T], data: Any, where: str) -> T:
    """An object of a frozen dataclass from a JSON object with exactly its fields, each of the type it declares.

    Whole numbers are from 0 to 2^62. SchemaMismatch naming `where`: a key too many or too few, or another type.
    """
    kinds, optional = _fields_of(cls)
    if not isinstance(data, dict):
        raise SchemaMismatch(f"{where}: is {type(data).__name__}; expected an object with {', '.join(kinds)}")
    if data.keys() != kinds.keys():
        unknown, missing = sorted(data.keys() - kinds.keys()), sorted(kinds.keys() - optional - data.keys())
        if unknown or missing:
            raise SchemaMismatch(f"{where}: keys that are missing {missing}, that nobody knows {str(unknown)[:80]}")
    for name, value in data.items():
        if type(value) is not kinds[name]:
            raise SchemaMismatch(f"{where}: {name} is {value!r:.80}; expected {kinds[name].__name__}")
        if isinstance(value, int) and not 0 <= value < LARGEST:
            raise SchemaMismatch(f"{where}: {name} is {value}; expected 0 to 2^62")
    return cls(**data)


@cache
def _fields_of(cls: type) -> tuple[dict[str, type], frozenset[str]]:
    """(type by name, the names that have a default)."""
    optional = frozenset(field.name for field in fields(cls) if field.default is not MISSING)
    return get_type_hints(cls), optional
