"""A word to the workers of a run, wherever they are: a file in its folder, which all see, as checkpoints lie there.

Owns the file. Who asks, and what follows, is left to `jobs.train` and `vpd.training.run`.
"""

from __future__ import annotations

import fsspec

NAME = "end-requested"


class EndRequest:
    """A file in a run's folder that asks its workers to end."""

    def __init__(self, folder: str) -> None:
        self._fs, root = fsspec.core.url_to_fs(folder)
        self._path = f"{root}/{NAME}"

    def make(self) -> None:
        self._fs.makedirs(self._path.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(self._path, b"")

    def withdraw(self) -> None:
        """Before a start, and after an end: a request is for one start of a run."""
        if self.is_there():
            self._fs.rm_file(self._path)

    def is_there(self) -> bool:
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._path))
