"""The room in a cache's folder: who takes how much of it, and which files go when more is needed.

All that processes which share the folder know of each other are locks of `fcntl.flock`, which a killed process gives
back. A file that nobody locks is used by nobody. What the files are is `shards.storage.fetching`'s.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shards.errors import ConfigError
from shards.storage.open_files import try_lock


class Room:
    """The files of a folder, `*.tar` and those on their way, `*.part`."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While room is counted, nobody else takes any, and no file changes its name."""
        with (self.folder / ".room").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise ConfigError(
                    f"{self.folder} has no file locks ({error.strerror}); put the cache on a local disk "
                    "(data.cache_dir)"
                ) from error
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)  # a process forked meanwhile has the file open as well

    def make(self, n_bytes: int) -> bool:
        """Remove what nobody uses, the longest unused first, until so many bytes fit; whether they do."""
        self.remove_dead_parts()
        files = sorted(self.files())
        over_bytes = sum(size for _, _, size in files) + n_bytes - self.limit_bytes
        for _, path, size in files:
            if over_bytes <= 0:
                break
            if path.suffix == ".tar" and _remove_unused(path):
                over_bytes -= size
        return over_bytes <= 0

    def remove_dead_parts(self) -> None:
        """What killed processes were fetching."""
        for path in self.folder.glob("*.part"):
            _remove_unused(path)

    def files(self) -> Iterator[tuple[int, Path, int]]:
        """(last use, path, bytes) of every file that takes room. To be asked while room is counted: no file comes, goes
        or is renamed then, but parts that are given up."""
        for path in self.folder.iterdir():
            if path.suffix in (".tar", ".part"):
                with suppress(FileNotFoundError):
                    found = path.stat()
                    yield found.st_atime_ns, path, found.st_size


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process holds a lock on it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
