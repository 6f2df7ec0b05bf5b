"""The members of one tar, kept in a folder of this machine: headers are read once, and again only when a tar changed.

Owns the form of what is kept (one small file a tar, packed, with the size and the stamp that the tar had) and the
members of a sample, whose name ends at the first dot of the file's name, as WebDataset has it. The walk itself is
`headers`'.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.files.tars.headers import Walked
from pipeline.files.tars.places import TarFile
from shards.errors import ConfigError, SourceError
from shards.storage.atomic import write_atomic

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
_FORM = 1  # raise it when what is kept, or what the walk finds, changes


class Member(NamedTuple):
    """Where a member's bytes are in its tar, and the checksum of the header in front of them."""

    name: str
    offset: int
    size: int
    check: int


@dataclass(frozen=True)
class TarIndex:
    """Samples in the tar's order, each with its members by their suffix in small letters, without its first dot.

    Attributes:
        cut_at: byte at which the tar ends too early; -1 of a whole one.
        packed: the tar is gzipped, and offsets are those of what is inside.
    """

    samples: Mapping[str, Mapping[str, Member]]
    cut_at: int
    packed: bool


class KeptIndexes:
    """A folder of indexes, shared by all processes of a machine. An empty path means one of this user's in the system's
    temporary folder. ConfigError: it cannot be written, or belongs to somebody else."""

    def __init__(self, folder: str = "") -> None:
        self.folder = Path(os.path.expanduser(folder)) if folder else default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o755 if folder else 0o700)
            stranger = not folder and self.folder.stat().st_uid != os.getuid()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        if stranger:
            raise self._unusable("it belongs to another user")

    def has(self, place: str, tar: TarFile) -> bool:
        """Whether this very tar is there, most likely: only what is said about it is read."""
        try:
            with np.load(self._path(place, tar), allow_pickle=False) as kept:
                return _is_of(kept, tar)
        except _DAMAGED:
            return False

    def load(self, place: str, tar: TarFile, where: str) -> TarIndex | None:
        """None: nothing is kept of this very tar. What is damaged counts as nothing."""
        try:
            kept = np.load(io.BytesIO(self._path(place, tar).read_bytes()), allow_pickle=False)
            if not _is_of(kept, tar):
                return None
            cut_at, packed = kept["about"].tolist()[2:]
            names = kept["names"].tobytes().decode().split("\0")[:-1]
            numbers = (kept[name].tolist() for name in ("offsets", "sizes", "checks"))
            members = list(map(Member, names, *numbers))
            return TarIndex(_samples(members, where), cut_at, bool(packed))
        except _DAMAGED:
            return None

    def keep(self, place: str, tar: TarFile, walked: Walked, packed: bool, where: str) -> TarIndex:
        """Keep what a walk found. SourceError: a name comes twice. ConfigError: nothing can be written."""
        members = list(map(Member, walked.names, walked.offsets, walked.sizes, walked.checks))
        index = TarIndex(_samples(members, where), walked.cut_at, packed)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            about=np.array([_FORM, tar.n_bytes, walked.cut_at, packed], np.int64),
            stamp=np.frombuffer(tar.stamp.encode(), np.uint8),
            names=np.frombuffer("".join(f"{name}\0" for name in walked.names).encode(), np.uint8),
            offsets=np.array(walked.offsets, np.int64),
            sizes=np.array(walked.sizes, np.int64),
            checks=np.array(walked.checks, np.uint32),
        )
        path = self._path(place, tar)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, buffer.getvalue())
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        return index

    def forget(self, place: str, tar: TarFile) -> None:
        """What is kept turned out to be of another tar of the same size and stamp."""
        with suppress(OSError):
            self._path(place, tar).unlink()

    def _path(self, place: str, tar: TarFile) -> Path:
        """One a tar, whatever it holds by now; 256 folders, since a folder of a million files is slow."""
        name = hashlib.sha256(f"{place}\n{tar.name}".encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.npz"

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.folder}: cannot hold the indexes of tars: {why}. Name another folder of this machine: "
            "source.indexes"
        )


def default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"tar-indexes-{os.getuid()}"


def _is_of(kept: Any, tar: TarFile) -> bool:
    form, n_bytes = kept["about"].tolist()[:2]
    return (form, n_bytes, kept["stamp"].tobytes().decode()) == (_FORM, tar.n_bytes, tar.stamp)


def _samples(members: list[Member], where: str) -> dict[str, dict[str, Member]]:
    found: dict[str, dict[str, Member]] = {}
    for member in members:
        folder, _, name = member.name.rpartition("/")
        stem, dot, suffix = name.partition(".")
        if not (stem and dot):
            continue
        sample = found.setdefault(f"{folder}/{stem}" if folder else stem, {})
        before = sample.setdefault(suffix.lower(), member)
        if before is not member:
            raise SourceError(
                f"{where}: holds {before.name!r} and {member.name!r}, which are one file of one sample; remove one"
            )
    return found
