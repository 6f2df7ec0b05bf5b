"""Where a set's files are: a local folder, or a URL whose tars are read through a bounded cache, or by ranges.

Readers `read` a small file whole (manifest, index, table) and `hold` a tar as read-only bytes; builders have files
`staged` beside their place or on this machine, and `publish` them in one step each. Which files there are and what
their hashes are is the manifest's business.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.atomic import publish, sha256_bytes, sha256_file, sweep, temporary_files, write_atomic
from shards.storage.cache import RemoteFile, ShardCache
from shards.storage.maps import MAPS, Positioned, TarBytes
from shards.storage.options import StorageOptions
from shards.storage.staging import staging_folder, sweep_staging
from shards.storage.store import Store

_READS = 4  # of a small file that comes damaged, or differently each time

Hold = Callable[[], TarBytes]  # the bytes, waiting for them; they stay on this machine while it is referenced


class Folder(Protocol):
    """The seam between a set and the place where it lies. `str` of it is for people: a path, or a URL without
    secrets."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        ...

    @property
    def cache(self) -> ShardCache | None:
        """The bounded cache in between, if there is one."""
        ...

    @property
    def is_remote(self) -> bool:
        """Do tars have to be fetched before use?"""
        ...

    def read(self, name: str, sha256: str = "") -> bytes:
        """A small file, whole. IncompleteSet if it does not exist, CorruptShard if it has another hash than said."""
        ...

    def exists(self, name: str) -> bool: ...

    def check_size(self, name: str, expected_bytes: int) -> None:
        """IncompleteSet if a file is missing, CorruptShard if it is of another size."""
        ...

    def sha256(self, name: str) -> str:
        """Of a file's bytes, all of them read."""
        ...

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        """Start bringing a tar here, and keep it here while the result is referenced."""
        ...

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """A file as one on this machine, for a walk over all of it."""
        ...

    def names(self, pattern: str) -> list[str]:
        """Files of this folder itself whose name fits, sorted."""
        ...

    def write(self, name: str, payload: bytes) -> None:
        """Create or replace a small file in one step."""
        ...

    def staged(self, *names: str) -> AbstractContextManager[tuple[Path, ...]]:
        """Paths on this machine to write files at; whatever is not published by the end is removed."""
        ...

    def publish(self, path: Path, name: str, sha256: str) -> None:
        """Give a staged, synced file its name in one step; readers find all of it or nothing."""
        ...

    def remove_folder(self, name: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        ...

    def check_writable(self) -> None:
        """ConfigError if nothing can be written there, whoever asks."""
        ...

    def sweep(self) -> None:
        """Remove what killed writers left behind; before a build starts writers, never beside running ones."""
        ...


class LocalFolder:
    """Files on this machine. Tars are mapped, as many as the process may."""

    cache = None
    is_remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.resolve().name
        self._alive: WeakValueDictionary[str, TarBytes] = WeakValueDictionary()

    def __str__(self) -> str:
        return str(self.root)

    def read(self, name: str, sha256: str = "") -> bytes:
        try:
            payload = (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name, self) from error
        except IsADirectoryError as error:
            raise CorruptShard(f"{name}: is a folder in {self.root}, not a file; download it again") from error
        if sha256 and sha256_bytes(payload) != sha256:
            raise _other_bytes(name, self, payload, sha256)
        return payload

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def check_size(self, name: str, expected_bytes: int) -> None:
        try:
            found_bytes = (self.root / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name, self) from error
        if found_bytes != expected_bytes:
            raise _other_size(name, self, found_bytes, expected_bytes)

    def sha256(self, name: str) -> str:
        return sha256_file(self.root / name)

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        def tar() -> TarBytes:
            found = self._alive.get(name)
            if found is not None:
                return found
            try:
                found = self._alive[name] = MAPS.file(self.root / name)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise _missing(name, self) from error
            if len(found) != tar_bytes:  # reading a map past the end of its file would kill the process
                del self._alive[name]
                raise _other_size(name, self, len(found), tar_bytes)
            return found

        return tar

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        if not (self.root / name).exists():
            raise _missing(name, self)
        yield self.root / name

    def names(self, pattern: str) -> list[str]:
        return sorted(path.name for path in self.root.glob(pattern))

    def write(self, name: str, payload: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, payload)

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
        for folder in (self.root, *(path for path in self.root.glob("_*") if path.is_dir())):
            sweep(folder)


class RemoteFolder:
    """Files behind a URL. Tars arrive through `cache`, checked against their sha256; without one each read asks for
    its own range, and is checked by the row's hash."""

    is_remote = True

    def __init__(self, store: Store, cache: ShardCache | None) -> None:
        self.cache = cache
        self.store = store
        self.name = store.url.rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        return self.store.url

    def read(self, name: str, sha256: str = "") -> bytes:
        payload, before = b"", None
        for _ in range(_READS):  # a byte can change on the way; without a hash two readings have to agree
            try:
                payload = self.store.read(name)
            except FileNotFoundError as error:
                raise _missing(name, self) from error
            if payload == before if not sha256 else sha256_bytes(payload) == sha256:
                return payload
            before = payload
        if sha256:
            raise _other_bytes(name, self, payload, sha256)
        raise CorruptShard(f"{name}: {_READS} readings in a row came with different bytes, from {self}")

    def exists(self, name: str) -> bool:
        try:
            self.store.size(name)
        except FileNotFoundError:
            return False
        return True

    def check_size(self, name: str, expected_bytes: int) -> None:
        try:
            found_bytes = self.store.size(name)
        except FileNotFoundError as error:
            raise _missing(name, self) from error
        if found_bytes != expected_bytes:
            raise _other_size(name, self, found_bytes, expected_bytes)

    def sha256(self, name: str) -> str:
        try:
            return self.store.sha256(name)
        except FileNotFoundError as error:
            raise _missing(name, self) from error

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        if self.cache is None:
            ranges = Positioned(lambda start, end: self.store.read_range(name, start, end), tar_bytes)
            return lambda: ranges
        return self.cache.hold(RemoteFile(self.store, name, tar_bytes, sha256)).result

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        with staging_folder() as folder:
            path = folder / Path(name).name
            try:
                with path.open("wb") as file:
                    self.store.download(name, file)
            except FileNotFoundError as error:
                raise _missing(name, self) from error
            yield path

    def names(self, pattern: str) -> list[str]:
        return [name for name in self.store.names() if "/" not in name and fnmatch(name, pattern)]

    def write(self, name: str, payload: bytes) -> None:
        self.store.write(name, payload)

    @contextmanager
    def staged(self, *names: str) -> Iterator[tuple[Path, ...]]:
        with staging_folder() as folder:
            yield tuple(folder / name for name in names)

    def publish(self, path: Path, name: str, sha256: str) -> None:
        self.store.upload(path, name, sha256)
        path.unlink()

    def remove_folder(self, name: str) -> None:
        for found in self.store.names(name):
            self.store.delete(found)

    def check_writable(self) -> None:
        self.store.check_writable()

    def sweep(self) -> None:
        sweep_staging()


def open_folder(
    place: str | Path | Folder, cache: ShardCache | None = None, storage_options: StorageOptions | None = None
) -> Folder:
    """The folder at a path or URL; a folder stays itself. `file://` is a path, unless a cache is given."""
    if not isinstance(place, str | Path):
        return place
    text = str(place)
    if text.startswith("file://") and cache is None:
        text = text.removeprefix("file://")
    if "://" in text:
        return RemoteFolder(Store.open(text, storage_options), cache)
    if cache is not None:
        raise ConfigError(f"{text} is a local path and is read in place; drop cache=, or write file://{text}")
    return LocalFolder(Path(text))


def _missing(name: str, folder: Folder) -> IncompleteSet:
    if name == "manifest.json":
        return IncompleteSet(
            f"manifest.json not found in {folder}: it is written last, so either the build has not finished "
            "(run it again, it continues) or this is not the folder of a shard set"
        )
    return IncompleteSet(
        f"{name}: named by the manifest but not found in {folder}; rebuild this shard or download it again"
    )


def _other_size(name: str, folder: Folder, found_bytes: int, expected_bytes: int) -> CorruptShard:
    return CorruptShard(
        f"{name}: has {found_bytes} bytes, the manifest says {expected_bytes}, in {folder}; "
        "the file was cut or replaced: rebuild this shard or download it again"
    )


def _other_bytes(name: str, folder: Folder, payload: bytes, sha256: str) -> CorruptShard:
    return CorruptShard(
        f"{name}: sha256 is {sha256_bytes(payload)[:12]}…, recorded {sha256[:12]}…, in {folder}; "
        "rebuild this shard or download it again"
    )
