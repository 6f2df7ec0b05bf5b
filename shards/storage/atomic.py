"""Files that exist whole or not at all: temporary name, fsync, rename. Also the hash of a file.

A temporary file is hidden and ends in `.tmp`; its name carries the process and a random token, so that a
retried task and a not quite dead predecessor never share one. Nothing of that name reaches the bytes. `sweep`
removes what killed writers left behind; call it before a build starts writers, never beside running ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def temporary_path(target: Path) -> Path:
    """A fresh hidden name beside `target`, on the same file system so that a rename is atomic."""
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def writer_process(path: Path) -> int | None:
    """The process id in a name made by `temporary_path`; None for any other name."""
    process = path.name.split(".")[-2].split("-")[0]
    return int(process) if process.isdecimal() else None


@contextmanager
def temporary_files(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary names for `targets`; whatever still has such a name at the end is removed."""
    paths = tuple(temporary_path(target) for target in targets)
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def write_atomic(target: Path, payload: bytes) -> None:
    """Replace `target` by `payload` in one step that survives a crash."""
    with temporary_files(target) as (path,):
        with path.open("wb") as file:
            file.write(payload)
            flush(file.fileno())
        publish(path, target)


def create_atomic(target: Path, payload: bytes) -> bool:
    """Make `target`, whole, unless there is one; whether it was made. Of several processes one makes it."""
    with temporary_files(target) as (path,):
        with path.open("wb") as file:
            file.write(payload)
            flush(file.fileno())
        try:
            target.hardlink_to(path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links: whole a moment later
            try:
                with target.open("xb") as file:
                    file.write(payload)
                    flush(file.fileno())
            except FileExistsError:
                return False
    return True


def replace_atomic(target: Path, before: bytes, payload: bytes) -> bool:
    """Replace `target` if it holds `before`; whether it was. Of several processes one replaces it: the one that has the
    lock of the file that is there. There is a whole file under the name at every moment, so that nobody may take it for
    free meanwhile."""
    with temporary_files(target) as (path,):
        with path.open("wb") as file:
            file.write(payload)
            flush(file.fileno())
        while True:
            try:
                descriptor = _open_to_lock(target)
            except FileNotFoundError:
                return False
            with open(descriptor, "rb") as there:  # closed, as when its process is killed, it gives the lock back
                with suppress(OSError):  # a file system without locks: as good as nobody else's coming in between
                    fcntl.flock(there, fcntl.LOCK_EX)
                if not is_at(there.fileno(), target):
                    continue  # replaced while this one waited
                if there.read() != before:
                    return False
                publish(path, target)
                return True


def _open_to_lock(path: Path) -> int:
    """For writing, which locks over a network ask for, where that is allowed; nothing is written."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def flush(descriptor: int) -> None:
    """Force written bytes to the disk."""
    os.fsync(descriptor)


def publish(path: Path, target: Path) -> None:
    """Rename a finished temporary file to its final name and make the rename itself durable."""
    path.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files that killed writers left in `folder`; returns them in name order."""
    stale = sorted(folder.glob(".*.tmp"))
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_bytes(payload: bytes | memoryview) -> str:
    """Hex sha256 of bytes in memory."""
    return hashlib.sha256(payload).hexdigest()
