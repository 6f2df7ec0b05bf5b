"""A bounded folder of a machine for the tars of remote sets, shared by all its processes: each tar is fetched once,
checked by sha256, and taken away only when nobody uses it.

Here is what one process keeps: the tars it has open, the last few it used, and those on their way to it. How a file
comes into the folder is `shards.storage.fetching`'s, and which go when room is needed `shards.storage.room`'s.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from shards.errors import ConfigError
from shards.storage.fetching import Fetching, RemoteFile
from shards.storage.open_files import TarBytes
from shards.storage.room import Room

_RECENT = 2  # tars kept open after their last use, for who reads record by record


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
        self.folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Lock()
        self._alive: WeakValueDictionary[str, TarBytes] = WeakValueDictionary()
        self._recent: deque[TarBytes] = deque(maxlen=_RECENT)
        self._pending: dict[str, Future[TarBytes]] = {}
        self._room = Room(self.folder, limit_bytes)
        with self._room.counted():
            self._room.remove_dead_parts()
        changed, recent = self._changed, self._recent

        def let_go() -> None:  # not a method: a cache that nobody uses is gone at once
            with changed:
                recent.clear()

        self._let_go = let_go
        self._fetching = Fetching(self._room, let_go)
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="shard-fetch")

    def __enter__(self) -> ShardCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def limit_bytes(self) -> int:
        """Of the folder; may be changed while files are fetched."""
        return self._room.limit_bytes

    @limit_bytes.setter
    def limit_bytes(self, limit_bytes: int) -> None:
        self._room.limit_bytes = limit_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes on disk now, with the room of files on their way."""
        with self._room.counted():
            return sum(size for _, _, size in self._room.files())

    @property
    def n_fetched(self) -> int:
        """Tars that this process has downloaded."""
        return self._fetching.n_fetched

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
        self._fetching.closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._let_go()

    def _note_use(self, tar: TarBytes) -> None:
        if not any(tar is other for other in self._recent):
            self._recent.append(tar)

    def _bring(self, file: RemoteFile) -> TarBytes:
        try:
            tar = self._fetching.fetch(file)
            with self._changed:
                self._alive[file.sha256] = tar
                self._note_use(tar)
            return tar
        finally:
            with self._changed:
                self._pending.pop(file.sha256, None)
