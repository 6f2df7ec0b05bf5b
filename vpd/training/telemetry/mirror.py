"""A local folder whose files are kept in step with a URL: for what can only be appended to, where stores cannot.

Owns when files are copied. A store that refuses costs nothing but its copy: it is said once, and tried again.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import fsspec

EVERY_S = 30.0
PREFIX, HELD = "run-log-", ".held"  # of the folder; in it, a file that is locked as long as its process lives


class Mirror:
    """The files of `<url>`, in `folder` on this machine.

    Args:
        fetched: names of the files that are brought here first, if they are there.
    """

    def __init__(
        self, url: str, fetched: tuple[str, ...], say: Callable[[str], None], every_s: float = EVERY_S
    ) -> None:
        self.url, self._say, self._every_s = url, say, every_s
        self.fs, self.root = fsspec.core.url_to_fs(url)
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held = (self.folder / f"{HELD}.new").open("wb")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        Path(self._held.name).rename(self.folder / HELD)  # it has that name only once it is locked
        self._copied: dict[Path, tuple[int, int]] = {}  # size and time of the last copy
        self._copying = threading.Lock()
        self._due_s, self._refused = time.monotonic() + every_s, False
        for name in fetched:
            if self.fs.exists(f"{self.root}/{name}"):
                self.fs.get_file(f"{self.root}/{name}", str(self.folder / name))

    def push(self) -> None:
        """Copy what has changed."""
        with self._copying:
            try:
                for path in sorted(file for file in self.folder.rglob("*") if file.is_file() and file.name != HELD):
                    self._copy(path)
                self._refused = False
            except OSError as error:
                if not self._refused:
                    self._say(f"the log could not be copied to {self.url}, {type(error).__name__}: {error}; going on")
                self._refused = True

    def push_if_due(self) -> None:
        """The same beside the caller's work, at most once in `every_s`."""
        if time.monotonic() >= self._due_s and not self._copying.locked():
            self._due_s = time.monotonic() + self._every_s
            threading.Thread(target=self.push, name="log copy", daemon=True).start()

    def close(self) -> None:
        """Copy the rest, and remove the folder."""
        self.push()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()

    def _copy(self, path: Path) -> None:
        known = path.stat()
        if self._copied.get(path) == (known.st_size, known.st_mtime_ns):
            return
        there = f"{self.root}/{path.relative_to(self.folder).as_posix()}"
        self.fs.makedirs(there.rpartition("/")[0], exist_ok=True)
        self.fs.put_file(str(path), there)
        self._copied[path] = known.st_size, known.st_mtime_ns


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    for held in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{HELD}"):
        with suppress(OSError), held.open("rb") as file:  # refused: of a living process, or of another user
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(held.parent, ignore_errors=True)
