"""The tar of a shard, written in one pass by webdataset's writer: where every payload lies and the hash of the file are
known at its end.

Plain USTAR with fixed times and owners, one member after the other. Names are ASCII and of at most 100 bytes, which the
schema sees to. Nothing that is written is read again.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import IO, Any

from shards.errors import SchemaMismatch

_OWNERSHIP: dict[str, Any] = {"user": "shards", "group": "shards", "mode": 0o444}
_PIECE_BYTES = 1 << 18  # hashed and written at once: what a core's cache holds
_LEAST_TOO_LARGE = 8**11  # what the size field of a plain tar cannot say


class _Hashed:
    """An open file that hashes and counts what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.n_bytes


class TarStream:
    """Writes members to an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        from webdataset.writer import TarWriter  # imports torch, which readers do not need

        self._hashed: Any = _Hashed(file)  # all of a file that tarfile writes to
        self._tar = TarWriter(self._hashed, mtime=0, encoder=False, compress=False, **_OWNERSHIP)
        # In place of its own stream, which copies every 10 kB several times: a quarter of the CPU time of a tar.
        pieces: Any = {"copybufsize": _PIECE_BYTES}
        self._tar.tarstream = tarfile.open(fileobj=self._hashed, mode="w", **pieces)  # noqa: SIM115  (`end` closes it)

    def add(self, name: str, header: bytes, data: bytes | memoryview) -> int:
        """A member that holds `header` and then `data`; the byte of the file at which it begins."""
        size = len(header) + len(data)
        if size >= _LEAST_TOO_LARGE:
            raise SchemaMismatch(
                f"{name}: {size} bytes, and a member of a plain tar holds less than {_LEAST_TOO_LARGE}; cut it up"
            )
        began = self._tar.tarstream.offset
        key, _, field = name.partition(".")
        # one call per member: webdataset sorts a call by name, tensors are to lie together
        self._tar.write({"__key__": key, field: b"".join((header, data))})
        return began + tarfile.BLOCKSIZE

    def end(self) -> tuple[int, str]:
        """Two empty blocks, filled up to a record of tar; (bytes, sha256) of the file."""
        self._tar.close()
        return self._hashed.n_bytes, self._hashed.digest.hexdigest()
