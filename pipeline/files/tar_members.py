"""Members of tar files, read at random: what img2dataset and WebDataset write.

Owns the index of a tar and reading from it by any number of threads. A gzipped tar cannot be read at random, so it is
unpacked once, by every process that reads it, into a temporary file without a name. What the members are is the
sources'.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from pipeline.files.readable import opened
from pipeline.reopened import Reopened
from shards.errors import Reject, SourceError

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Member:
    """Where a member's bytes are in its tar."""

    name: str
    offset: int
    size: int


class TarMembers(Reopened):
    """One tar. Thread-safe; pickles as its path. SourceError: no such file, or no tar."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._unpacking = Lock(), Lock()
        self._unpacked: tuple[int, BinaryIO | None] | None = None  # process id, file
        self._samples: dict[str, dict[str, Member]] | None = None

    def samples(self) -> Mapping[str, Mapping[str, Member]]:
        """Members by sample and by suffix without its dot, in the tar's order: a sample's name ends at the first dot of
        the file's name, as WebDataset has it."""
        with self._lock:
            if self._samples is None:
                self._samples = self._indexed()
            return self._samples

    def read(self, member: Member) -> bytes:
        """The bytes of a member. Reject: the tar ends before them."""
        unpacked = self._unpacked_once()
        if unpacked is not None:
            payload = os.pread(unpacked.fileno(), member.size, member.offset)
        else:  # opened anew: a set of a thousand tars would otherwise keep a thousand files open
            with opened(self.path) as file:
                file.seek(member.offset)
                payload = file.read(member.size)
        if len(payload) < member.size:
            raise Reject(f"{self.path}: ends inside of {member.name}; copy it again")
        return payload

    def _indexed(self) -> dict[str, dict[str, Member]]:
        found: dict[str, dict[str, Member]] = {}
        try:
            unpacked = self._unpacked_once()
            with nullcontext(unpacked) if unpacked else opened(self.path) as file:
                file.seek(0)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    members = [(info.name, info.offset_data, info.size) for info in tar if info.isfile()]
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{self.path}: cannot be read as a tar: {error}; copy it again") from error
        for path, offset, size in members:
            folder, _, name = path.rpartition("/")
            stem, dot, suffix = name.partition(".")
            if stem and dot:
                sample = f"{folder}/{stem}" if folder else stem
                found.setdefault(sample, {})[suffix.lower()] = Member(path, offset, size)
        if not found:
            raise SourceError(f"{self.path}: holds no files named <sample>.<suffix>")
        return found

    def _unpacked_once(self) -> BinaryIO | None:
        """The tar without its compression, or None if it has none."""
        with self._unpacking:
            if self._unpacked is None or self._unpacked[0] != os.getpid():
                self._unpacked = (os.getpid(), _unpacked(self.path))
            return self._unpacked[1]


def _unpacked(path: Path) -> BinaryIO | None:
    with opened(path) as file:
        if file.read(2) != _GZIP:
            return None
    unpacked: Any = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this process reads the tar)
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    unpacked.flush()
    return unpacked
