"""A set's files in a folder of this machine: read in place, and written by renaming. What there may be instead is
`shards.storage.storage`'s."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from shards.storage.atomic import (
    create_atomic,
    publish,
    replace_atomic,
    sha256_bytes,
    sha256_file,
    sweep,
    temporary_files,
    write_atomic,
)
from shards.storage.faults import missing, other_bytes, other_size, unreadable
from shards.storage.open_files import FILES, Hold, TarBytes, lend_plain, open_plain, read_plain

T = TypeVar("T", bytes, memoryview)


class LocalFolder:
    """Files on this machine. Tars are kept open, as many as the process may."""

    cache = None
    is_remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.resolve().name
        self._alive: WeakValueDictionary[str, TarBytes] = WeakValueDictionary()

    def __str__(self) -> str:
        return str(self.root)

    def read(self, name: str, sha256: str = "") -> bytes:
        return self._checked(read_plain, name, sha256)

    def lend(self, name: str, sha256: str) -> memoryview:
        return self._checked(lend_plain, name, sha256)

    def _checked(self, read: Callable[[str], T], name: str, sha256: str) -> T:
        try:
            payload = read(f"{self.root}/{name}")  # quicker than a Path, as below
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(name, self) from error
        if sha256 and sha256_bytes(payload) != sha256:
            raise other_bytes(name, self, bytes(payload), sha256)
        return payload

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def check_size(self, name: str, expected_bytes: int) -> None:
        try:
            found_bytes = os.stat(f"{self.root}/{name}").st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(name, self) from error
        except OSError as error:
            raise unreadable(name, self, error) from error
        if found_bytes != expected_bytes:
            raise other_size(name, self, found_bytes, expected_bytes)

    def sha256(self, name: str) -> str:
        return sha256_file(self.root / name)

    def known_sha256(self, name: str) -> str:
        return ""

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        def tar() -> TarBytes:
            found = self._alive.get(name)
            if found is not None:
                return found
            try:
                found = self._alive[name] = FILES.file(f"{self.root}/{name}")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise missing(name, self) from error
            if len(found) != tar_bytes:
                del self._alive[name]
                raise other_size(name, self, len(found), tar_bytes)
            return found

        return tar

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        try:
            os.close(open_plain(self.root / name))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(name, self) from error
        yield self.root / name

    def bring(self, name: str, path: Path) -> str:
        with self.local_copy(name) as found:
            shutil.copyfile(found, path)
        return sha256_file(path)

    def names(self, pattern: str) -> list[str]:
        return sorted(path.name for path in self.root.glob(pattern))

    def write(self, name: str, payload: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, payload)

    def create(self, name: str, payload: bytes) -> bool:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return create_atomic(path, payload)

    def replace(self, name: str, before: bytes, payload: bytes) -> bool:
        return replace_atomic(self.root / name, before, payload)

    def rename(self, name: str, new_name: str) -> None:
        try:
            publish(self.root / name, self.root / new_name)
        except FileNotFoundError as error:
            raise missing(name, self) from error

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def below(self, name: str) -> LocalFolder:
        return LocalFolder(self.root / name)

    def staged(self, *names: str) -> AbstractContextManager[tuple[Path, ...]]:
        self.root.mkdir(parents=True, exist_ok=True)
        return temporary_files(*(self.root / name for name in names))

    def publish(self, path: Path, name: str, sha256: str) -> None:
        publish(path, self.root / name)

    def remove_folder(self, name: str) -> None:
        if (self.root / name).is_dir():
            shutil.rmtree(self.root / name)

    def check_writable(self) -> None:
        """The first write will say."""

    def sweep(self) -> None:
        for folder in (self.root, *(path for path in self.root.glob("*") if path.is_dir())):
            sweep(folder)
