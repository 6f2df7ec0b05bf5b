"""What readers of pictures, labels and depth need of a file: a path on this machine, or a value of a table's row."""

from __future__ import annotations

from typing import IO, Literal, Protocol


class Readable(Protocol):
    """A file that can be read; `str` of it is its name in messages. A `pathlib.Path` is one."""

    @property
    def suffix(self) -> str: ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...

    def read_bytes(self) -> bytes: ...
