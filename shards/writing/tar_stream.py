"""The tar of a shard, written in one pass: where every payload lies and the hash of the file are known at its end.

Plain USTAR with fixed times and owners, one member after the other. Names are ASCII and of at most 100
bytes, which the schema sees to. Nothing that is written is read again.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import IO

from shards.errors import SchemaMismatch

_MODE = 0o444
_OWNER = "shards"
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)


def _empty_block() -> bytes:
    """The header of an empty member without a name, with spaces for its checksum, as the sum is made."""
    info = tarfile.TarInfo()
    info.mode, info.uname, info.gname = _MODE, _OWNER, _OWNER
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[_CHECKSUM] = b" " * 8
    return bytes(block)


_EMPTY = _empty_block()


def _block(name: str, size: int) -> bytes:
    """`tarfile`'s header of a member, at a tenth of its time: all but three fields are always the same."""
    if size >= 8**11:
        raise SchemaMismatch(f"{name}: {size} bytes, and a member of a plain tar holds less than {8**11}; cut it up")
    block = bytearray(_EMPTY)
    block[_NAME] = name.encode("ascii").ljust(100, b"\0")
    block[_SIZE] = b"%011o\0" % size
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


class TarStream:
    """Writes members to an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._padding = b""  # of the member before: small pieces are written together

    def add(self, name: str, header: bytes, data: bytes | memoryview) -> int:
        """A member that holds `header` and then `data`; the byte of the file at which it begins."""
        size = len(header) + len(data)
        self._put(self._padding + _block(name, size) + header)
        self._put(data)
        self._padding = bytes(-size % tarfile.BLOCKSIZE)
        return self._bytes - size

    def end(self) -> tuple[int, str]:
        """Two empty blocks, filled up to a record of tar; (bytes, sha256) of the file."""
        self._put(self._padding + bytes(2 * tarfile.BLOCKSIZE))
        self._put(bytes(-self._bytes % tarfile.RECORDSIZE))
        return self._bytes, self._digest.hexdigest()

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)
