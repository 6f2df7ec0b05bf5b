"""Gzipped tars of this machine: nothing of them can be read at random, so each is unpacked while it is read.

Owns what packed files look like, and the few that are unpacked at a time: temporary files without a name, gone with
their process, as large as the tars are unpacked. Other packings, and packed tars at URLs, are refused.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, BinaryIO

from pipeline.files.tars.places import LocalTars, TarFile, TarPlace
from shards.errors import SourceError

_GZIP = b"\x1f\x8b"
_OTHERS = ((4, b"1AY&SY", "bzip2"), (0, b"\xfd7zXZ\0", "xz"), (0, b"\x28\xb5\x2f\xfd", "zstd"))
_BLOCK_BYTES = 1 << 20
_MOST_TIMES, _ANY_BYTES = 100, 1 << 26  # gzip can pack a thousand times; a tar of a few texts and much padding is small
_KEPT = 2  # unpacked at a time, beside those that are being read


def is_packed(place: TarPlace, tar: TarFile) -> bool:
    """Whether a tar is gzipped. SourceError: it is packed, and cannot be read here."""
    start = place.read(tar, 0, 10)
    other = next((name for at, sign, name in _OTHERS if start[at:].startswith(sign)), "")
    if other or (start.startswith(_GZIP) and not isinstance(place, LocalTars)):
        name = other or "gzip"
        raise SourceError(
            f"{place}/{tar.name}: cannot be read as a tar: it is packed by {name}, in which nothing can be read at "
            f"random. Unpack it with `{name} -d`, which hardly makes pictures larger, and give the .tar"
        )
    return start.startswith(_GZIP)


class Unpacked:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._files: OrderedDict[TarFile, BinaryIO] = OrderedDict()

    @contextmanager
    def opened(self, place: LocalTars, tar: TarFile) -> Iterator[int]:
        """A descriptor of the tar without its packing. SourceError: it is damaged."""
        with self._lock:
            file = self._files.get(tar)
            if file is None:
                file = self._files[tar] = _unpacked(place, tar)
            self._files.move_to_end(tar)
            while len(self._files) > _KEPT:
                self._files.popitem(last=False)  # closed when its last reader is done with it
        yield file.fileno()


def _unpacked(place: LocalTars, tar: TarFile) -> BinaryIO:
    where = f"{place}/{tar.name}"
    unpacked: Any = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as anybody reads it)
    try:
        with place.opened(tar) as descriptor, open(descriptor, "rb", closefd=False) as file, gzip.open(file) as inside:
            for block in _blocks(inside, where):
                left = _MOST_TIMES * tar.n_bytes + _ANY_BYTES - unpacked.tell() - len(block)
                if left < 0:
                    raise SourceError(
                        f"{where}: is more than {_MOST_TIMES} times as large unpacked, which no pictures are; it is "
                        "made to harm, or holds something else: leave it out"
                    )
                unpacked.write(block)
        unpacked.flush()
    except BaseException as error:
        with suppress(OSError):
            unpacked.close()
        if isinstance(error, OSError):
            raise SourceError(
                f"{where}: cannot be unpacked into {tempfile.gettempdir()}: {error.strerror or error}. Make room "
                "there, name another folder by TMPDIR, or unpack it with `gzip -d` and give the .tar"
            ) from error
        raise
    return unpacked


def _blocks(inside: gzip.GzipFile, where: str) -> Iterator[bytes]:
    """Of a tar without its packing. SourceError: it is damaged."""
    try:
        while block := inside.read(_BLOCK_BYTES):
            yield block
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{where}: cannot be read as a tar: {error}; copy it again") from error
