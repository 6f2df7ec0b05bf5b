"""A bounded folder of a machine for the tars of remote sets, shared by all its processes: each tar is fetched once,
checked by sha256, and taken away only when nobody uses it.

Files are named by their hash, so sets and versions never collide and a later run finds what an earlier one left. All
that processes know of each other are locks of `fcntl.flock`, which a killed process gives back:
    <sha256>.part   locked by whoever fetches it; sized in full at once, so that its room is taken; renamed when whole
    <sha256>.tar    locked, shared, by every map of its bytes, which keeps the descriptor; evicted if nobody locks it
    .room           locked while room is counted and made
A tar's modification time is a number made of its hash, set once its bytes were checked: any later writing changes it,
so a file that has it needs no second check. Its access time is when a process last opened it: the oldest goes first.
Where everything is in use, the limit is passed, after a while and with a word about it, and not the reader stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.maps import MAPS, Positioned, TarBytes, map_descriptor, read_file, try_lock
from shards.storage.room import Room, is_at
from shards.storage.store import Store

_ATTEMPTS = 3  # of a file that comes with another hash; broken connections are the store's
_RECENT = 2  # tars kept mapped after their last use, for who reads record by record
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


@dataclass(frozen=True)
class CacheConfig:
    """Settings of a cache. An empty folder means one of this user's in the system's temporary folder."""

    folder: str = ""
    max_bytes: int = 50_000_000_000  # of all processes together that share the folder
    threads: int = 2

    def build(self) -> ShardCache:
        """The cache these settings describe."""
        default = Path(tempfile.gettempdir()) / f"shard-cache-{os.getuid()}"
        folder = Path(self.folder) if self.folder else default
        return ShardCache(folder, self.max_bytes, self.threads)


class ShardCache:
    """At most `limit_bytes` of tars in `folder`, whichever processes read them; this one fetches by `threads` threads.

    Raises ConfigError for a file larger than the limit or a folder without locks, IncompleteSet for a file that is not
    there, StoreFailed for one that cannot be fetched, CorruptShard for one whose bytes keep having another hash.
    """

    def __init__(self, folder: Path | str, limit_bytes: int, threads: int = 2) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self.n_fetched = 0  # tars that this process has downloaded
        self.folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Lock()
        self._alive: WeakValueDictionary[str, TarBytes] = WeakValueDictionary()
        self._recent: deque[TarBytes] = deque(maxlen=_RECENT)
        self._pending: dict[str, Future[TarBytes]] = {}
        self._closed = False
        self._told = False  # that the limit was passed
        self._room = Room(self.folder)
        with self._room.counted():
            self._room.remove_dead_parts()
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="shard-fetch")

    def __enter__(self) -> ShardCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def used_bytes(self) -> int:
        """Bytes on disk now, with the room of files on their way."""
        return sum(size for _, _, size in self._room.files())

    def array(self, file: RemoteFile) -> TarBytes:
        """The file as read-only uint8 [n_bytes]; waits until it has arrived."""
        return self.hold(file).result()

    def hold(self, file: RemoteFile) -> Future[TarBytes]:
        """Bring the file here unless it is. It stays while the future, or what it gives, is referenced."""
        if file.n_bytes > self.limit_bytes:
            raise ConfigError(
                f"{file} has {file.n_bytes} bytes, the cache holds {self.limit_bytes}; raise limit_bytes "
                "(data.cache_gb)"
            )
        with self._changed:
            alive = self._alive.get(file.sha256)
            if alive is not None:
                self._note_use(alive)
                done: Future[TarBytes] = Future()
                done.set_result(alive)
                return done
            future = self._pending.get(file.sha256)
            if future is None:
                future = self._pending[file.sha256] = self._pool.submit(self._bring, file)
            return future

    def close(self) -> None:
        """Stop fetching and join the threads. Files stay for the next run."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            self._recent.clear()

    def _note_use(self, tar: TarBytes) -> None:
        if not any(tar is other for other in self._recent):
            self._recent.append(tar)

    def _bring(self, file: RemoteFile) -> TarBytes:
        try:
            tar = self._fetch(file)
            with self._changed:
                self._alive[file.sha256] = tar
                self._note_use(tar)
            return tar
        finally:
            with self._changed:
                self._pending.pop(file.sha256, None)

    def _path(self, file: RemoteFile) -> Path:
        return self.folder / f"{file.sha256}.tar"

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
                return self._mapped(descriptor, file)
            finally:
                os.close(descriptor)

    def _mapped(self, descriptor: int, file: RemoteFile) -> TarBytes:
        """The map of an open, locked file; beyond the number of maps, reads that each find the file again."""
        mapped = MAPS.adopt(lambda: map_descriptor(descriptor))
        if mapped is not None:
            return mapped

        def read(start: int, end: int) -> bytes:
            with suppress(FileNotFoundError):
                return read_file(self._path(file), start, end)
            return self.array(file)[start:end].tobytes()  # evicted: fetched again

        return Positioned(read, file.n_bytes)

    def _fetch(self, file: RemoteFile) -> TarBytes:
        part = self.folder / f"{file.sha256}.part"
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
                part.replace(self._path(file))
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self.n_fetched += 1
                return self._mapped(descriptor, file)
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
                if self._room.make(file.n_bytes, self.limit_bytes) or late:
                    os.ftruncate(descriptor, file.n_bytes)
                    break
            self._check_open(file)
            with self._changed:
                self._recent.clear()  # nothing waits for these
            time.sleep(_LOOK_AGAIN_S)
        if late and not self._told:
            self._told = True
            print(
                f"[cache] {self.folder}: over its limit of {self.limit_bytes} bytes, since all of it is in use; "
                "raise it (data.cache_gb), or lower data.window_shards",
                file=sys.stderr,
                flush=True,
            )

    def _check_open(self, file: RemoteFile) -> None:
        if self._closed:
            raise ConfigError(f"{file}: the cache was closed before it arrived")


def _checked_mark(file: RemoteFile) -> int:
    """The modification time, in nanoseconds, of a file whose bytes were checked."""
    return int(file.sha256[:7], 16) * 1_000_000_000 + int(file.sha256[7:14], 16)


def _sha256(descriptor: int) -> str:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
