"""Where this machine keeps files on their way to or from a store: a folder for each use, gone at its end.

Every folder holds a locked file while its process lives, so that whoever comes next can tell what a killed process left
behind, and removes it. Nothing here is ever read by anyone else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.storage.open_files import try_lock

_LOCK = "in-use"
_NEW = "new"


def staging_root() -> Path:
    """The folder of this user's staging folders."""
    return Path(tempfile.gettempdir()) / f"shard-staging-{os.getuid()}"


@contextmanager
def staging_folder() -> Iterator[Path]:
    """An empty folder of this process; removed at the end, or by the next user if this process is killed."""
    root = staging_root()
    root.mkdir(parents=True, exist_ok=True)
    sweep_staging()
    folder = Path(tempfile.mkdtemp(dir=root, prefix="new-"))
    with (folder / _NEW).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / _NEW).rename(folder / _LOCK)  # who sweeps never sees it without its lock
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_staging() -> None:
    """Remove what killed processes left behind. A folder without a lock file may be a moment old, and is left."""
    for path in staging_root().glob(f"*/{_LOCK}"):
        try:
            with path.open("rb") as lock:
                if try_lock(lock.fileno(), fcntl.LOCK_EX):
                    shutil.rmtree(path.parent, ignore_errors=True)
        except FileNotFoundError:
            continue
