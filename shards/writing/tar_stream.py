"""The tar of a shard, written in one pass: where every payload lies and the hash of the file are known at its end.

Plain USTAR with fixed times and owners, one member after the other. A header is made by `tarfile`; nothing that is
written is read again.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import IO

_MODE = 0o444
_OWNER = "shards"


class TarStream:
    """Writes members to an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._padding = b""  # of the member before: small pieces are written together

    def add(self, name: str, header: bytes, data: bytes | memoryview) -> int:
        """A member that holds `header` and then `data`; the byte of the file at which it begins."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.uname, info.gname = len(header) + len(data), _MODE, _OWNER, _OWNER
        before = self._padding + info.tobuf(tarfile.USTAR_FORMAT)
        self._put(before + header)
        self._put(data)
        self._padding = bytes(-info.size % tarfile.BLOCKSIZE)
        return self._bytes - info.size

    def end(self) -> tuple[int, str]:
        """Two empty blocks, filled up to a record of tar; (bytes, sha256) of the file."""
        self._put(self._padding + bytes(2 * tarfile.BLOCKSIZE))
        self._put(bytes(-self._bytes % tarfile.RECORDSIZE))
        return self._bytes, self._digest.hexdigest()

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)
