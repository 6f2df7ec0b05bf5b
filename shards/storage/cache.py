"""A bounded local cache for the tars of remote sets: fetched ahead of use, checked by sha256, evicted when
full.

Files are named by their hash, so sets and versions never collide and a later run finds what an earlier one
left. The least recently used file goes first. Readers hold memory maps: a file evicted under a reader stays
readable until the reader lets go (POSIX), and its disk space is freed then. Several processes may share a
folder; each keeps to the limit on its own account.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.atomic import temporary_files, writer_process

_BLOCK_BYTES = 1 << 20
_ATTEMPTS = 3


@dataclass(frozen=True)
class RemoteFile:
    """One remote tar: the fsspec file system that serves it, its path there, and what it must be."""

    files: Any
    path: str
    n_bytes: int
    sha256: str


def map_file(path: Path) -> np.ndarray:
    """A file's bytes as a read-only memory map."""
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)  # [file bytes]


@dataclass(frozen=True)
class CacheConfig:
    """Settings of a cache. An empty folder means one of this user's in the system's temporary folder."""

    folder: str = ""
    max_bytes: int = 50_000_000_000
    threads: int = 2

    def build(self) -> ShardCache:
        """The cache these settings describe."""
        default = Path(tempfile.gettempdir()) / f"shard-cache-{os.getuid()}"
        folder = Path(self.folder) if self.folder else default
        return ShardCache(folder, self.max_bytes, self.threads)


class ShardCache:
    """At most `limit_bytes` of tars in `folder`, fetched by `threads` threads.

    Raises ConfigError for a file larger than the limit, IncompleteSet for one that cannot be fetched,
    CorruptShard for one whose bytes keep having another hash.
    """

    def __init__(self, folder: Path | str, limit_bytes: int, threads: int = 2) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        _sweep_dead(self.folder)
        self._changed = threading.Condition()
        self._mapped: dict[str, np.ndarray] = {}
        self._pending: dict[str, Future[np.ndarray]] = {}
        self._reserved_bytes = 0
        # Least recently used first. Files of an earlier run are held, and mapped once their hash was checked.
        self._held: OrderedDict[str, int] = OrderedDict(
            (path.stem, path.stat().st_size) for path in sorted(self.folder.glob("*.tar"))
        )
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="shard-fetch")

    def __enter__(self) -> ShardCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def used_bytes(self) -> int:
        """Bytes on disk now, with room reserved for files on their way."""
        with self._changed:
            return sum(self._held.values()) + self._reserved_bytes

    def array(self, file: RemoteFile) -> np.ndarray:
        """The file as read-only uint8 [n_bytes]; waits until it has arrived."""
        with self._changed:
            mapped = self._mapped.get(file.sha256)
            if mapped is not None:
                self._held.move_to_end(file.sha256)
                return mapped
            future = self._start(file)
        return future.result()

    def prefetch(self, file: RemoteFile) -> None:
        """Start fetching the file unless it is here or on its way. A failure shows when `array` is asked for
        it.
        """
        with self._changed:
            if file.sha256 not in self._mapped:
                self._start(file)

    def close(self) -> None:
        """Stop fetching and join the threads. Files stay for the next run."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            self._mapped.clear()

    def _start(self, file: RemoteFile) -> Future[np.ndarray]:
        if file.n_bytes > self.limit_bytes:
            raise ConfigError(
                f"{file.path} has {file.n_bytes} bytes, the cache holds {self.limit_bytes}; raise limit_bytes"
            )
        future = self._pending.get(file.sha256)
        if future is None:
            future = self._pending[file.sha256] = self._pool.submit(self._bring, file)
        return future

    def _bring(self, file: RemoteFile) -> np.ndarray:
        try:
            mapped = self._adopt(file)
            if mapped is not None:
                return mapped
            with self._changed:
                self._make_room(file.n_bytes)
                self._reserved_bytes += file.n_bytes
            with ExitStack() as on_error:
                on_error.callback(self._release, file.n_bytes)
                mapped = self._download(file)
                on_error.pop_all()
            with self._changed:  # released and admitted in one step, so that no byte counts twice
                self._release(file.n_bytes)
                self._admit(file, mapped)
            return mapped
        finally:
            with self._changed:
                self._pending.pop(file.sha256, None)

    def _adopt(self, file: RemoteFile) -> np.ndarray | None:
        """A file left by an earlier run, if its hash is right; a wrong one is removed."""
        with self._changed:
            if file.sha256 not in self._held:
                return None
        with suppress(FileNotFoundError, ValueError):  # evicted by another process, or empty
            mapped = map_file(self._path(file.sha256))
            if hashlib.sha256(mapped.data).hexdigest() == file.sha256:
                with self._changed:
                    self._admit(file, mapped)
                return mapped
        with self._changed:
            self._evict(file.sha256)
        return None

    def _release(self, n_bytes: int) -> None:
        with self._changed:
            self._reserved_bytes -= n_bytes
            self._changed.notify_all()

    def _admit(self, file: RemoteFile, mapped: np.ndarray) -> None:
        self._held[file.sha256] = file.n_bytes
        self._held.move_to_end(file.sha256)
        self._mapped[file.sha256] = mapped

    def _path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.tar"

    def _make_room(self, n_bytes: int) -> None:
        """Evict until `n_bytes` fit; with nothing left, wait for a running fetch and evict that."""
        while sum(self._held.values()) + self._reserved_bytes + n_bytes > self.limit_bytes:
            if self._held:
                self._evict(next(iter(self._held)))
            else:
                self._changed.wait()

    def _evict(self, sha256: str) -> None:
        self._held.pop(sha256, None)
        self._mapped.pop(sha256, None)
        self._path(sha256).unlink(missing_ok=True)

    def _download(self, file: RemoteFile) -> np.ndarray:
        target, found = self._path(file.sha256), ""
        for attempt in range(1, _ATTEMPTS + 1):
            with temporary_files(target) as (path,):
                try:
                    found = _copy(file, path)
                except FileNotFoundError as error:
                    raise IncompleteSet(
                        f"{file.path}: named by the manifest but not found; upload this shard again"
                    ) from error
                except OSError as error:
                    if attempt == _ATTEMPTS:
                        raise IncompleteSet(
                            f"{file.path}: fetching failed {attempt} times, last with: {error}"
                        ) from error
                    continue
                if found == file.sha256:
                    mapped = map_file(path)  # before the rename: another process may evict it right after
                    path.replace(target)
                    return mapped
        raise CorruptShard(
            f"{file.path}: fetched {_ATTEMPTS} times, sha256 is {found[:12]}…, "
            f"the manifest says {file.sha256[:12]}…; the remote file is damaged: upload this shard again"
        )


def _copy(file: RemoteFile, path: Path) -> str:
    """Copy the remote file to `path`; returns the sha256 of what came."""
    digest = hashlib.sha256()
    with file.files.open(file.path, "rb") as source, path.open("wb") as local:
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            local.write(block)
    return digest.hexdigest()


def _sweep_dead(folder: Path) -> None:
    """Remove temporary files whose process is gone; a running one may share the folder."""
    for path in folder.glob(".*.tmp"):
        process = writer_process(path)
        if process is None or not Path(f"/proc/{process}").exists():
            path.unlink(missing_ok=True)
