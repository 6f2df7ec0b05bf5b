"""The bytes of tars, read at positions into memory of one's own, and the open files of a process behind them.

Nobody here looks into a mapped file: one that is cut meanwhile ends the process with SIGBUS, and what is mapped changes
under whoever holds it. A read that finds less is an error, and what it found stays as it was checked. Files are mapped
for the compiled reader alone (`shards.native`), which copies from the map and catches the signal.

Every open file takes a descriptor, and a process has 1,024 of them by default. So all readers of a process share one
bound; the least recently used file is let go first, and one that finds all of them in use is opened for each read.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ctypes import CDLL
from functools import cache
from operator import sub
from pathlib import Path

import numpy as np

from shards.errors import CorruptShard, StoreFailed
from shards.native.library import library
from shards.storage.faults import unreadable

_SHARE = 4  # a quarter of the descriptors, the rest is the program's
_MOST_FILES = 4096
_FEWEST_FILES = 8
_MOST_WASTE = 8192  # bytes between two parts that one call reads over: copying them takes less than another call
_WASTE = memoryview(bytearray(_MOST_WASTE))
_MOST_LENT = 2**22
_MOST_READ = 2**26  # at a time, of what one read did not give
_FILE = struct.Struct("3q")


Part = tuple[int, memoryview]  # where in a file, and what is to be filled with its bytes from there on


class TarBytes:
    """Bytes of a file, sliced like an array: each slice is a read of its own. `fill(target, start)` fills a buffer with
    the bytes from `start` on, or raises; `scatter(parts)` fills several, ascending, in as few reads as it can;
    `run(buffers, start, end)`, if there is one, fills neighbours by one read; `mapped`, if it is not empty, is the
    `struct file` of `shards/native/rows.c`: descriptor, address (0: of no map) and bytes."""

    mapped = b""

    def __init__(
        self,
        n_bytes: int,
        fill: Callable[[memoryview, int], None],
        scatter: Callable[[Sequence[Part]], None] | None = None,
        run: Callable[[Sequence[memoryview], int, int], None] | None = None,
    ) -> None:
        self._n_bytes = n_bytes
        self.fill = fill
        self.scatter = scatter or self._one_by_one
        self.run = run

    @staticmethod
    def by_parts(n_bytes: int, read: Callable[[int, int], bytes]) -> TarBytes:
        """Of what gives bytes `start` to `end` one by one, as a store does."""

        def fill(target: memoryview, start: int) -> None:
            target[:] = read(start, start + len(target))

        return TarBytes(n_bytes, fill)

    def _one_by_one(self, parts: Sequence[Part]) -> None:
        for start, target in parts:
            self.fill(target, start)

    def __len__(self) -> int:
        return self._n_bytes

    def __getitem__(self, part: slice) -> np.ndarray:
        start, end, _ = part.indices(self._n_bytes)
        found = np.empty(max(0, end - start), np.uint8)  # [end - start]
        if len(found):
            self.fill(found.data, start)
        return found


Hold = Callable[[], TarBytes]  # the bytes, waiting for them; they stay on this machine while it is referenced


def open_plain(path: Path | str) -> int:
    """A descriptor of a plain file, to read. CorruptShard for a folder, a pipe or a device, which may have no end,
    StoreFailed for what must not be read."""
    return _opened(path)[0]


def read_plain(path: Path | str) -> bytes:
    """A plain file, whole; errors as of `open_plain`."""
    descriptor, n_bytes = _opened(path)
    try:
        parts = [os.read(descriptor, n_bytes + 1)]  # one more than there are: less than that is all of them
        while parts[-1] and len(parts[0]) != n_bytes:  # Linux gives out 2 GB at a time, and a file may grow
            parts.append(os.read(descriptor, _MOST_READ))
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def lend_plain(path: Path | str) -> memoryview:
    """As `read_plain`, in memory that this thread's next call uses again: new memory costs more than what is read."""
    descriptor, n_bytes = _opened(path)
    try:
        if n_bytes < _MOST_LENT:
            room = _LENT.room
            if len(room) <= n_bytes:
                room = _LENT.room = bytearray(n_bytes + n_bytes // 4 + 1)
            if os.preadv(descriptor, [room], 0) == n_bytes:  # and no more, though there is room
                return memoryview(room)[:n_bytes]
    finally:
        os.close(descriptor)
    return memoryview(read_plain(path))


class _Lent(threading.local):
    room = bytearray()


_LENT = _Lent()


def _opened(path: Path | str) -> tuple[int, int]:
    """(a descriptor, how many bytes it has)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise CorruptShard(f"{Path(path)}: is no plain file but a folder, a pipe or a device; download it again")
    return descriptor, found.st_size


def of_descriptor(descriptor: int, name: Path | str, n_bytes: int | None = None) -> TarBytes:
    """The bytes of an open file, whose descriptor is closed when nothing refers to them any more. A lock on it lasts as
    long."""

    def fill(target: memoryview, start: int) -> None:
        _fill(descriptor, name, target, start)

    def scatter(parts: Sequence[Part]) -> None:
        _scatter(descriptor, name, parts)

    def run(buffers: Sequence[memoryview], start: int, end: int) -> None:
        _fill_all(descriptor, name, buffers, start, end)

    n_bytes = os.fstat(descriptor).st_size if n_bytes is None else n_bytes
    found = TarBytes(n_bytes, fill, scatter, run)
    native, address = library(), 0
    if native is not None:
        address = native.map_file(descriptor, n_bytes)
        found.mapped = _FILE.pack(descriptor, address, n_bytes)
    weakref.finalize(found, _close, native, descriptor, address, n_bytes).atexit = False
    return found


def _close(native: CDLL | None, descriptor: int, address: int, n_bytes: int) -> None:
    """Both the file and its map, if it has one."""
    if native is not None and address:
        native.unmap_file(address, n_bytes)
    os.close(descriptor)


def by_opening(path: Path, n_bytes: int) -> TarBytes:
    """The bytes of a file that is opened anew for each read."""

    def fill(target: memoryview, start: int) -> None:
        descriptor = open_plain(path)
        try:
            _fill(descriptor, path, target, start)
        finally:
            os.close(descriptor)

    return TarBytes(n_bytes, fill)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock of `fcntl.flock` if it is free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def most_files() -> int:
    """How many tars this process may hold open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_FILES if soft == resource.RLIM_INFINITY else max(_FEWEST_FILES, min(_MOST_FILES, soft // _SHARE))


def _of_path(name: str) -> TarBytes:
    descriptor, n_bytes = _opened(name)
    return of_descriptor(descriptor, name, n_bytes)


class FilePool:
    """Open files, counted as long as anything refers to them; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # letting a file go inside counts it down inside
        self._recent: OrderedDict[tuple[str, int, int, int], TarBytes] = OrderedDict()
        self._n_open = 0

    @property
    def n_open(self) -> int:
        """Files that something refers to."""
        return self._n_open

    def file(self, path: Path | str) -> TarBytes:
        """A file's bytes. FileNotFoundError if there is none; one replaced under the same name is opened anew."""
        name = str(path)
        found = os.stat(name)
        key = (name, found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            held = self._recent.get(key)
            if held is not None:
                self._recent.move_to_end(key)
                return held
            held = self.adopt(lambda: _of_path(name))
            if held is None:
                return by_opening(Path(path), found.st_size)
            self._recent[key] = held
            return held

    def adopt(self, make: Callable[[], TarBytes]) -> TarBytes | None:
        """The open file that `make` makes, counted; None if as many as there may be are in use."""
        with self._lock:
            most = most_files()
            while self._n_open >= most and self._recent:
                self._recent.popitem(last=False)
            if self._n_open >= most:
                return None
            held = make()
            self._n_open += 1
            weakref.finalize(held, self._let_go).atexit = False
            return held

    def _let_go(self) -> None:
        with self._lock:
            self._n_open -= 1


FILES = FilePool()  # descriptors are the process's, so its readers share one pool


def wasted(ends: Sequence[int], starts: Sequence[int]) -> list[memoryview] | None:
    """What is filled with the bytes between parts that end and others that start; None where one is too far away."""
    gaps = list(map(sub, starts, ends))
    if min(gaps) < 0 or max(gaps) > _MOST_WASTE:
        return None
    return [_waste(gap) for gap in gaps]


@cache
def _waste(n_bytes: int) -> memoryview:
    return _WASTE[:n_bytes]


def _scatter(descriptor: int, name: Path | str, parts: Sequence[Part]) -> None:
    """One call for what lies close together. What lies between goes to waste, which several threads may write at once:
    nobody reads it."""
    first = end = parts[0][0]
    buffers: list[memoryview] = []
    for start, target in parts:
        gap = start - end
        if gap > _MOST_WASTE or gap < 0:
            _fill_all(descriptor, name, buffers, first, end)
            first, buffers = start, []
        elif gap:
            buffers.append(_WASTE[:gap])
        buffers.append(target)
        end = start + len(target)
    _fill_all(descriptor, name, buffers, first, end)


def _fill_all(descriptor: int, name: Path | str, buffers: Sequence[memoryview], start: int, end: int) -> None:
    """Neighbouring buffers, from `start` to `end`."""
    try:
        done = os.preadv(descriptor, buffers, start)
    except OSError as error:
        raise _unreadable(name, error) from error
    if done != end - start:  # the file ends here, or gave out less than was asked for
        for buffer in buffers:
            _fill(descriptor, name, buffer, start)
            start += len(buffer)


def _fill(descriptor: int, name: Path | str, target: memoryview, start: int) -> None:
    try:
        done = os.preadv(descriptor, [target], start)
        while done < len(target):  # Linux gives out 2 GB at most at a time
            more = os.preadv(descriptor, [target[done:]], start + done)
            if not more:
                raise CorruptShard(
                    f"{Path(name)} ends before byte {start + len(target)}: it was cut while it was read; restore it, "
                    "or download it again"
                )
            done += more
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: Path | str, error: OSError) -> StoreFailed:
    return unreadable(Path(name).name, Path(name).parent, error)
