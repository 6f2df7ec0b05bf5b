"""What readers of pictures, labels and depth need of a file: a path on this machine, or a value of a table's row; and
opening one, which waits for nothing."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import IO, Literal, Protocol


class Readable(Protocol):
    """A file that can be read; `str` of it is its name in messages. A `pathlib.Path` is one."""

    @property
    def suffix(self) -> str: ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...

    def read_bytes(self) -> bytes: ...


def opened(path: Readable) -> IO[bytes]:
    """A file, open to read. OSError as from `open`, and for a pipe or a device, whose reading may never end."""
    if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file but a folder, a pipe or a device", str(path))
    return path.open("rb")


def contents(path: Readable) -> bytes:
    """A file's bytes; OSError as `opened`."""
    with opened(path) as file:
        return file.read()
