"""The memory maps of a process: as many as its descriptors allow, and reads at a position beyond that.

Every map holds a file descriptor for as long as anything refers to its bytes, and a process has 1,024 of them by
default. So the maps of one process share one bound; the least recently used is let go first, and a file that finds all
of them in use is read where it is asked for. Both kinds are sliced alike.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shards.errors import CorruptShard

_SHARE = 4  # a quarter of the descriptors, the rest is the program's
_MOST_MAPS = 4096
_FEWEST_MAPS = 8


class Positioned:
    """Bytes of a file that is not mapped: each slice is a read of its own, `read(start, end)`."""

    def __init__(self, read: Callable[[int, int], bytes], n_bytes: int) -> None:
        self._read = read
        self._n_bytes = n_bytes

    def __len__(self) -> int:
        return self._n_bytes

    def __getitem__(self, part: slice) -> np.ndarray:
        start, end, _ = part.indices(self._n_bytes)
        return np.frombuffer(self._read(start, max(start, end)), np.uint8)  # [end - start]


TarBytes = np.ndarray | Positioned  # read-only uint8 [file bytes], or what is sliced like it
Hold = Callable[[], TarBytes]  # the bytes, waiting for them; they stay on this machine while it is referenced


def map_descriptor(descriptor: int) -> np.ndarray:
    """An open file's bytes as a read-only map. A lock on the descriptor lasts until the last reference to the bytes."""
    return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), np.uint8)  # [file bytes]


def map_file(path: Path) -> np.ndarray:
    """A file's bytes as a read-only memory map."""
    with path.open("rb") as file:
        return map_descriptor(file.fileno())


def read_file(path: Path, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file. CorruptShard if it ends before."""
    with path.open("rb", buffering=0) as file:
        payload = os.pread(file.fileno(), end - start, start)
        while payload and len(payload) < end - start:  # Linux gives out 2 GB at most at a time
            more = os.pread(file.fileno(), end - start - len(payload), start + len(payload))
            if not more:
                break
            payload += more
    if len(payload) != end - start:
        raise CorruptShard(f"{path} ends before byte {end}: it was cut while it was read; restore it")
    return payload


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock of `fcntl.flock` if it is free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def most_maps() -> int:
    """How many maps this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_MAPS if soft == resource.RLIM_INFINITY else max(_FEWEST_MAPS, min(_MOST_MAPS, soft // _SHARE))


class MapPool:
    """Maps of files, counted as long as anything refers to them; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # letting a map go inside counts it down inside
        self._recent: OrderedDict[tuple[str, int, int, int], np.ndarray] = OrderedDict()
        self._n_alive = 0

    @property
    def n_alive(self) -> int:
        """Maps whose bytes something refers to."""
        return self._n_alive

    def file(self, path: Path) -> TarBytes:
        """A file's bytes. FileNotFoundError if there is none; a file replaced under the same name is mapped anew."""
        found = path.stat()
        key = (str(path), found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            mapped = self._recent.get(key)
            if mapped is not None:
                self._recent.move_to_end(key)
                return mapped
            mapped = self.adopt(lambda: map_file(path))
            if mapped is None:
                return Positioned(lambda start, end: read_file(path, start, end), found.st_size)
            self._recent[key] = mapped
            return mapped

    def adopt(self, make: Callable[[], np.ndarray]) -> np.ndarray | None:
        """The map that `make` makes, counted; None if as many as there may be are in use."""
        with self._lock:
            while self._n_alive >= most_maps() and self._recent:
                self._recent.popitem(last=False)
            if self._n_alive >= most_maps():
                return None
            mapped = make()
            self._n_alive += 1
            weakref.finalize(mapped, self._let_go).atexit = False
            return mapped

    def _let_go(self) -> None:
        with self._lock:
            self._n_alive -= 1


MAPS = MapPool()  # descriptors are the process's, so its readers share one pool
