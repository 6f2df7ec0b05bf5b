"""Members of many tars, read at random where they lie, in memory that does not grow with their number.

Owns the few indexes that stay in memory, one request for members that lie together, and making sure that what came is
still what the index says: a tar that was written again meanwhile must not give another picture, or half of one.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from threading import Lock, local

from pipeline.files.tars.headers import BLOCK_BYTES, check_of, walk
from pipeline.files.tars.index import KeptIndexes, Member, TarIndex
from pipeline.files.tars.places import LocalTars, TarFile, TarPlace, changed, cut
from pipeline.files.tars.unpacked import Unpacked, is_packed
from pipeline.reopened import Reopened
from shards.errors import Reject, SourceError
from shards.progress import reports

MOST_BYTES = 1 << 30  # of a member that is read
_KEPT = 16  # indexes in memory, of 10,000 samples some 8 MB each
_TOGETHER_BYTES = 1 << 18  # between members that are read at once
_REMEMBERED_BYTES = 1 << 24  # that a thread keeps of its last read
_INDEXED_AT_ONCE = 8
_LEAST_BYTES, _MOST_REQUESTED_BYTES = 1 << 16, 1 << 22  # a request takes as long as a few MiB
_SHOWN = 3


class TarReader(Reopened):
    """Thread-safe; pickles as its place and the folder of indexes."""

    def __init__(self, place: TarPlace, indexes: str = "") -> None:
        self.place = place
        self._kept = KeptIndexes(indexes)
        self._lock, self._here, self._unpacked = Lock(), local(), Unpacked()
        self._indexes: OrderedDict[TarFile, TarIndex] = OrderedDict()

    def shown(self, tar: TarFile) -> str:
        """A tar in messages."""
        return f"{self.place}/{tar.name}"

    def samples(self, tar: TarFile) -> Mapping[str, Mapping[str, Member]]:
        """Members by sample and suffix; see `TarIndex`."""
        return self.index(tar).samples

    def index(self, tar: TarFile) -> TarIndex:
        """SourceError: it cannot be read as a tar of pictures."""
        with self._lock:
            if tar in self._indexes:
                self._indexes.move_to_end(tar)
                return self._indexes[tar]
        found = self._kept.load(str(self.place), tar, self.shown(tar)) or self._made(tar)
        with self._lock:
            self._indexes[tar] = found
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        return found

    def make_indexes(self, tars: Sequence[TarFile]) -> None:
        """Of all that have none yet, several at once, saying how far it is. SourceError: of all that cannot be read."""
        report, waiting = reports("[tars]", "tars indexed"), iter(tars)
        done, faults = 0, list[str]()
        with ThreadPoolExecutor(_INDEXED_AT_ONCE, "tars") as pool:
            while some := list(islice(waiting, 4 * _INDEXED_AT_ONCE)):  # a bound on what waits in memory
                for fault in pool.map(self._make, some):
                    done += 1
                    faults += [fault] if fault else []
                    report(done, len(tars))
        if faults:
            more = f"\nand {len(faults) - _SHOWN} more tars" if len(faults) > _SHOWN else ""
            raise SourceError("\n".join(faults[:_SHOWN]) + more)

    def read(self, tar: TarFile, members: Sequence[Member]) -> list[bytes]:
        """The bytes of members, by as few requests as they need. What this thread read last is not asked for again.

        Raises:
            Reject: the tar ends before one of them, or one is too large.
            SourceError: the tar is not there, or was written again.
        """
        key = (tar, tuple(members))
        if getattr(self._here, "key", None) == key:
            return self._here.payloads
        payloads = self._read(tar, members)
        if sum(map(len, payloads)) <= _REMEMBERED_BYTES:
            self._here.key, self._here.payloads = key, payloads
        return payloads

    def _read(self, tar: TarFile, members: Sequence[Member]) -> list[bytes]:
        for member in members:
            if member.size > MOST_BYTES:
                raise Reject(
                    f"{self.shown(tar)}: {member.name} has {member.size} bytes; up to {MOST_BYTES} of a file are read"
                )
        first = min(member.offset for member in members) - BLOCK_BYTES
        last = max(member.offset + member.size for member in members)
        if last - first - sum(member.size for member in members) > _TOGETHER_BYTES:
            return [self._read(tar, [member])[0] for member in members]
        whole = self._bytes(tar, first, last)
        return [self._checked(tar, member, whole, member.offset - first) for member in members]

    def _checked(self, tar: TarFile, member: Member, whole: bytes, at: int) -> bytes:
        payload = whole[at : at + member.size]
        if len(payload) < member.size:
            raise cut(self.shown(tar), member.name)
        if check_of(whole[at - BLOCK_BYTES : at]) != member.check:
            self._kept.forget(str(self.place), tar)  # a tar of the same size and time may have been put in its place
            raise SourceError(changed(self.shown(tar), f"another one: {member.name} is not where it was"))
        return payload

    def _bytes(self, tar: TarFile, start: int, end: int) -> bytes:
        if isinstance(self.place, LocalTars):
            with self._opened(self.place, tar, self.index(tar).packed) as descriptor:
                return os.pread(descriptor, end - start, start)
        return self.place.read(tar, start, end)

    def _opened(self, place: LocalTars, tar: TarFile, packed: bool) -> AbstractContextManager[int]:
        return self._unpacked.opened(place, tar) if packed else place.opened(tar)

    def _make(self, tar: TarFile) -> str:
        try:
            if not self._kept.has(str(self.place), tar):
                self._made(tar)
        except SourceError as error:
            return str(error)
        return ""

    def _made(self, tar: TarFile) -> TarIndex:
        where, packed = self.shown(tar), is_packed(self.place, tar)
        try:
            if isinstance(self.place, LocalTars):
                with self._opened(self.place, tar, packed) as descriptor:
                    n_bytes = os.fstat(descriptor).st_size
                    walked = walk(lambda start, end: os.pread(descriptor, end - start, start), n_bytes, where)
            else:
                walked = walk(_Window(self.place, tar).read, tar.n_bytes, where)
        except OSError as error:
            raise SourceError(f"{where}: cannot be read as a tar: {error}; copy it again") from error
        return self._kept.keep(str(self.place), tar, walked, packed, where)


class _Window:
    """Parts of a remote tar that lie one behind the other, by requests of more bytes while they lie close together."""

    def __init__(self, place: TarPlace, tar: TarFile) -> None:
        self._place, self._tar = place, tar
        self._next, self._start, self._held = _LEAST_BYTES, 0, b""

    def read(self, start: int, end: int) -> bytes:
        at = start - self._start
        if at < 0 or end - self._start > len(self._held):
            is_near = 0 <= at - len(self._held) <= _MOST_REQUESTED_BYTES // 4
            self._next = min(2 * self._next, _MOST_REQUESTED_BYTES) if is_near else _LEAST_BYTES
            wanted = max(end - start, self._next)
            self._start, self._held = start, self._place.read(self._tar, start, start + wanted)
            at = 0
        return self._held[at : at + end - start]
