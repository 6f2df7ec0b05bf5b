"""New files of a checkpoint, on the disk with their names when they are said to be written, and hashed on the way.

Owns how that is done on a local disk; a store behind a URL promises it itself, once a file is closed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import xxhash

from vpd.training.checkpoints.checked_files import is_local


class Hashed:
    """An open file that knows size and hash of what was written to it."""

    def __init__(self, file: Any) -> None:
        self._file, self._digest = file, xxhash.xxh3_128()
        self.n_bytes = 0

    def write(self, data: memoryview | bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.n_bytes += len(data)

    @property
    def xxh128(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def created(fs: Any, path: str) -> Iterator[Hashed]:
    """A new file, whose bytes are on the disk when it is closed, where there is one to ask."""
    with fs.open(path, "wb") as file:
        yield Hashed(file)
        file.flush()
        with suppress(AttributeError, io.UnsupportedOperation):  # a stream to somewhere else
            os.fsync(file.fileno())


def settle(fs: Any, *folders: str) -> None:
    """The names of the files in local folders are on the disk, as their bytes are."""
    for folder in folders if is_local(fs) else ():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
