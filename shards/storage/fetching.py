"""Brings tars into the folder of a cache, once for all processes that share it, checked by sha256.

Files are named by their hash, so sets and versions never collide and a later run finds what an earlier one left. All
that processes know of each other are locks of `fcntl.flock`, which a killed process gives back:
    <sha256>.part   locked by whoever fetches it; sized in full at once, so that its room is taken; renamed when whole
    <sha256>.tar    locked, shared, by everyone who has it open; evicted if nobody locks it
A tar's modification time is a number made of its hash, set once its bytes were checked: any later writing changes it,
so a file that has it needs no second check. Its access time is when a process last opened it: the oldest goes first.
Where everything is in use, the limit is passed, after a while and with a word about it, and not the reader stopped.
How long a process keeps them is `shards.storage.cache`'s.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.atomic import is_at
from shards.storage.open_files import FILES, TarBytes, by_opening, of_descriptor, try_lock
from shards.storage.room import Room
from shards.storage.store import Store

_ATTEMPTS = 3  # of a file that comes with another hash; broken connections are the store's
_LOOK_AGAIN_S = 0.02
PATIENCE_S = 10.0  # for room that others use, before the limit is passed


@dataclass(frozen=True)
class RemoteFile:
    """One remote tar: the store that has it, its name there, and what it must be."""

    store: Store
    name: str
    n_bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.store}/{self.name}"


class Fetching:
    """Fetches into the folder of `room`, for one process; `let_go` lets go of what that keeps without need.

    Raises what `shards.storage.cache.ShardCache` says.
    """

    def __init__(self, room: Room, let_go: Callable[[], None]) -> None:
        self.n_fetched = 0  # tars that this process has downloaded
        self.closed = False  # what has not arrived by now is not waited for
        self._room = room
        self._let_go = let_go
        self._told = False  # that the limit was passed

    def _path(self, file: RemoteFile) -> Path:
        return self._room.folder / f"{file.sha256}.tar"

    def _claim(self, file: RemoteFile) -> TarBytes | None:
        """A file that is here, locked against eviction, if it is what it must be; a wrong one is removed."""
        path = self._path(file)
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if not is_at(descriptor, path):
                    continue  # evicted between the two lines above
                found = os.fstat(descriptor)
                if found.st_size != file.n_bytes or (
                    found.st_mtime_ns != _checked_mark(file) and _sha256(descriptor) != file.sha256
                ):
                    path.unlink(missing_ok=True)
                    return None
                os.utime(path, ns=(time.time_ns(), _checked_mark(file)))
                return self._opened(descriptor, file)
            finally:
                os.close(descriptor)

    def _opened(self, descriptor: int, file: RemoteFile) -> TarBytes:
        """The bytes of an open, locked file; beyond the number of files, reads that each find it again."""
        path = self._path(file)
        held = FILES.adopt(lambda: of_descriptor(os.dup(descriptor), path))
        if held is not None:
            return held
        found_again = by_opening(path, file.n_bytes)

        def fill(target: memoryview, start: int) -> None:
            with suppress(FileNotFoundError):
                return found_again.fill(target, start)
            return self.fetch(file).fill(target, start)  # evicted: fetched again

        return TarBytes(file.n_bytes, fill)

    def fetch(self, file: RemoteFile) -> TarBytes:
        """The file's bytes, brought here unless it is; waits for room, and for another process that is at it."""
        part = self._room.folder / f"{file.sha256}.part"
        while True:
            tar = self._claim(file)
            if tar is not None:
                return tar
            with self._locked(part, file) as descriptor:
                if descriptor is not None:
                    tar = self._claim(file)  # another process may have been quicker than the lock
                    return self._download(file, part, descriptor) if tar is None else tar

    @contextmanager
    def _locked(self, part: Path, file: RemoteFile) -> Iterator[int | None]:
        """The open, locked `part`, removed at the end unless it was renamed; None if its process renamed or removed it
        while this one waited. Nothing of `file` may be claimed before this is over then: it would be the same file."""
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            while not try_lock(descriptor, fcntl.LOCK_EX) and is_at(descriptor, part):
                self._check_open(file)
                time.sleep(_LOOK_AGAIN_S)
            if not is_at(descriptor, part):
                yield None
                return
            try:
                yield descriptor
            finally:
                if is_at(descriptor, part):
                    part.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _download(self, file: RemoteFile, part: Path, descriptor: int) -> TarBytes:
        self._take_room(file, descriptor)
        found = ""
        for _ in range(_ATTEMPTS):
            with open(descriptor, "r+b", closefd=False) as local:
                try:
                    found = file.store.download(file.name, local)
                except FileNotFoundError as error:
                    raise IncompleteSet(
                        f"{file}: named by the manifest but not found; upload this shard again"
                    ) from error
            if found == file.sha256:
                os.fsync(descriptor)  # before the mark that says it was checked
                os.utime(descriptor, ns=(time.time_ns(), _checked_mark(file)))
                with self._room.counted():  # who counts meanwhile would miss it under both its names
                    part.replace(self._path(file))
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self.n_fetched += 1
                return self._opened(descriptor, file)
        raise CorruptShard(
            f"{file}: fetched {_ATTEMPTS} times, sha256 is {found[:12]}…, "
            f"the manifest says {file.sha256[:12]}…; the remote file is damaged: upload this shard again"
        )

    def _take_room(self, file: RemoteFile, descriptor: int) -> None:
        """Evict until the file fits, and size it, which takes its room."""
        os.ftruncate(descriptor, 0)
        patient_until = time.monotonic() + PATIENCE_S
        while True:
            with self._room.counted():
                late = time.monotonic() > patient_until
                if self._room.make(file.n_bytes) or late:
                    os.ftruncate(descriptor, file.n_bytes)
                    break
            self._check_open(file)
            self._let_go()
            time.sleep(_LOOK_AGAIN_S)
        if late and not self._told:
            self._told = True
            print(
                f"[cache] {self._room.folder}: over its limit of {self._room.limit_bytes} bytes, since all of it is in "
                "use; raise it (data.cache_gb), or lower data.window_shards",
                file=sys.stderr,
                flush=True,
            )

    def _check_open(self, file: RemoteFile) -> None:
        if self.closed:
            raise ConfigError(f"{file}: the cache was closed before it arrived")


def _checked_mark(file: RemoteFile) -> int:
    """The modification time, in nanoseconds, of a file whose bytes were checked."""
    return int(file.sha256[:7], 16) * 1_000_000_000 + int(file.sha256[7:14], 16)


def _sha256(descriptor: int) -> str:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
