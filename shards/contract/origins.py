"""What every record of a set was made from: `origins.jsonl` beside the manifest, and `file_times.jsonl`.

Owns the form of both, a line for each planned shard, and the hash of a source file. A set without them is whole; it can
be read and trained from, and only not be brought up to date by itself. Times stand apart, because equal sets have equal
origins and the times of files differ from copy to copy.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from shards.contract.canonical import canonical_json, parse_json
from shards.errors import CorruptShard

ORIGINS_NAME, TIMES_NAME = "origins.jsonl", "file_times.jsonl"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its record was made. `name` is relative to its dataset; without a hash it was not there, or
    could not be read. `time_ns` is that of its last change, and says nothing but that a look is not needed."""

    name: str
    n_bytes: int
    xxh3_128: str
    time_ns: int = 0

    def is_same(self, other: SourceFile) -> bool:
        """Of one name and content, whenever."""
        return (self.name, self.n_bytes, self.xxh3_128) == (other.name, other.n_bytes, other.xxh3_128)


@dataclass(frozen=True)
class Origin:
    """Of one key, whether a record came of it or a reject.

    Attributes:
        files: that belong to this record alone; None where the source cannot say.
        shown: hash of what the encoder was shown, empty for one that did not get so far.
        cut_sentences: that have more tokens than are stored.
    """

    key: str
    files: tuple[SourceFile, ...] | None = None
    shown: str = ""
    cut_sentences: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data without times; `from_json` is the inverse."""
        files = None if self.files is None else [[file.name, file.n_bytes, file.xxh3_128] for file in self.files]
        return {"key": self.key, "files": files, "shown": self.shown, "cut_sentences": self.cut_sentences}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Origin:
        files = data["files"]
        files = None if files is None else tuple(SourceFile(*file) for file in files)
        return Origin(data["key"], files, data["shown"], data["cut_sentences"])


@dataclass(frozen=True)
class ShardOrigins:
    """Of the keys of one planned shard, in their order. `shared` is the hash of what all records of the source depend
    on: options, annotation files, lists."""

    shard: str
    shared: str
    records: tuple[Origin, ...]

    def to_json(self) -> dict[str, Any]:
        return {"shard": self.shard, "shared": self.shared, "records": [record.to_json() for record in self.records]}

    def times_json(self) -> dict[str, Any]:
        """A list of times for each record, in nanoseconds since 1970."""
        return {"shard": self.shard, "times_ns": [[file.time_ns for file in one.files or ()] for one in self.records]}

    @staticmethod
    def from_json(data: Mapping[str, Any], times: Mapping[str, Any] | None) -> ShardOrigins:
        """Without times that fit, every file will be looked at."""
        records = [Origin.from_json(record) for record in data["records"]]
        known = times["times_ns"] if times else []
        if len(known) == len(records):
            records = [_with_times(record, each) for record, each in zip(records, known, strict=True)]
        return ShardOrigins(data["shard"], data["shared"], tuple(records))


def to_lines(shards: Iterable[ShardOrigins]) -> tuple[bytes, bytes]:
    """The bytes of `origins.jsonl` and of `file_times.jsonl`."""
    kept = list(shards)
    origins = b"".join(canonical_json(shard.to_json(), ORIGINS_NAME) + b"\n" for shard in kept)
    return origins, b"".join(canonical_json(shard.times_json(), TIMES_NAME) + b"\n" for shard in kept)


def from_lines(origins: bytes, times: bytes = b"") -> dict[str, ShardOrigins]:
    """By shard, in their order. CorruptShard: no such lines."""
    try:
        by_shard = {one["shard"]: one for one in (parse_json(line, TIMES_NAME) for line in times.splitlines())}
        lines = (parse_json(line, ORIGINS_NAME) for line in origins.splitlines())
        return {line["shard"]: ShardOrigins.from_json(line, by_shard.get(line["shard"])) for line in lines}
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptShard(
            f"{ORIGINS_NAME} is not what a build writes ({error!r}); `set repair SET from=COPY` takes it from a copy "
            f"of the set, or delete it and {TIMES_NAME}, and the next build looks at every file"
        ) from error


def look(name: str, path: Path, before: SourceFile | None = None) -> SourceFile:
    """A file as it is now. It is read unless it has the size and the time of `before`, and the same name."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for ever
            return SourceFile(name, 0, "")
        if before and before.xxh3_128 and (before.n_bytes, before.time_ns) == (found.st_size, found.st_mtime_ns):
            return replace(before, name=name)
        digest, n_bytes = content_hasher(), 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                n_bytes += len(block)
        return SourceFile(name, n_bytes, digest.hexdigest(), found.st_mtime_ns)
    except OSError:  # its record is rejected with the reason
        return SourceFile(name, 0, "")


def look_inside(name: str, read: Callable[[], bytes], state: str, before: SourceFile | None = None) -> SourceFile:
    """What a part of a larger file holds now. It is read unless the file has the state of `before`, a number of which
    stands where a file's time does."""
    stamp = int.from_bytes(hashlib.sha256(state.encode()).digest()[:6], "big")  # JSON keeps whole numbers of 53 bits
    if before and before.xxh3_128 and before.time_ns == stamp:
        return replace(before, name=name)
    payload, digest = read(), content_hasher()
    digest.update(payload)
    return SourceFile(name, len(payload), digest.hexdigest(), stamp)


def content_hasher() -> xxhash.xxh3_128:
    """The hash of source files, and of what an encoder is shown: it tells changes, and is no proof against forgery."""
    return xxhash.xxh3_128()


def _with_times(record: Origin, times_ns: list[int]) -> Origin:
    if record.files is None or len(record.files) != len(times_ns):
        return record
    files = tuple(replace(file, time_ns=time_ns) for file, time_ns in zip(record.files, times_ns, strict=True))
    return replace(record, files=files)
