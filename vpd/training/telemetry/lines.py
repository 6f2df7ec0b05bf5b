"""A file that grows by lines, on a disk that may be full for a while.

Owns that nothing is lost and no line is cut: what cannot be written waits in memory, and half a line is taken back. Who
is told, and what the lines say, is `vpd.training.telemetry.log`'s.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Lines:
    """An open file of lines.

    Args:
        path: is made if absent; what it ends with stays.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._n_bytes = path.stat().st_size  # of whole lines
        self._waiting = b""
        self._writing = threading.Lock()  # the thread that writes checkpoints brings them to safety, too

    def add(self, line: str) -> None:
        """Write a line, or keep it.

        Raises:
            OSError: it is kept, since there is no room.
        """
        with self._writing:
            self._waiting += line.encode() + b"\n"
            self._write()

    def bring_to_safety(self) -> None:
        """All lines are on the disk.

        Raises:
            OSError: they are not.
        """
        with self._writing:
            self._write()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what waits, and close.

        Raises:
            OSError: some lines are lost.
        """
        with self._writing, self._file:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        try:
            written = 0
            while written < len(self._waiting):
                written += self._file.write(self._waiting[written:]) or 0
        except OSError:
            self._file.truncate(self._n_bytes)
            raise
        self._n_bytes += len(self._waiting)
        self._waiting = b""
