"""Where a set's files are: a local folder that is memory-mapped, or any fsspec URL read through a bounded
cache.

Readers see two verbs: `read` a small file whole (manifest, index, table), and `array` a tar as read-only
bytes. Which files exist and what their hashes are is the manifest's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import fsspec
import numpy as np

from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.cache import RemoteFile, ShardCache, map_file


class Folder(Protocol):
    """The seam between a reader and the place where the set lies."""

    @property
    def cache(self) -> ShardCache | None:
        """The bounded cache in between, if there is one."""
        ...

    @property
    def is_remote(self) -> bool:
        """Do tars have to be fetched before use?"""
        ...

    def read(self, name: str) -> bytes:
        """A small file, whole. Raises IncompleteSet if it does not exist."""
        ...

    def check_size(self, name: str, expected_bytes: int) -> None:
        """Cheap check before first use: IncompleteSet if missing, CorruptShard if of another size."""
        ...

    def array(self, name: str, tar_bytes: int, sha256: str) -> np.ndarray:
        """A tar as read-only uint8 [tar_bytes]."""
        ...

    def prefetch(self, name: str, tar_bytes: int, sha256: str) -> None:
        """Say that `array` will be asked for this file soon."""
        ...


class LocalFolder:
    """Files on this machine. Tars are mapped at first use and stay mapped."""

    cache = None
    is_remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._mapped: dict[str, np.ndarray] = {}

    def __str__(self) -> str:
        return str(self.root)

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name, self.root) from error
        except IsADirectoryError as error:
            raise CorruptShard(f"{name}: is a folder in {self.root}, not a file; download it again") from error

    def check_size(self, name: str, expected_bytes: int) -> None:
        try:
            found_bytes = (self.root / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(name, self.root) from error
        if found_bytes != expected_bytes:
            raise CorruptShard(
                f"{name}: has {found_bytes} bytes, the manifest says {expected_bytes}, in {self.root}; "
                "the file was cut or replaced: rebuild this shard or download it again"
            )

    def array(self, name: str, tar_bytes: int, sha256: str) -> np.ndarray:
        found = self._mapped.get(name)
        if found is None:
            self.check_size(name, tar_bytes)  # reading a map past the end of its file would kill the process
            found = self._mapped.setdefault(name, map_file(self.root / name))
        return found

    def prefetch(self, name: str, tar_bytes: int, sha256: str) -> None:
        """Nothing to do: the file is here."""


class RemoteFolder:
    """Files behind an fsspec URL. Tars arrive through `cache`, checked against their sha256."""

    is_remote = True

    def __init__(self, url: str, cache: ShardCache | None) -> None:
        self.cache = cache
        self._url = url
        self._files, self._root = fsspec.core.url_to_fs(url)

    def __str__(self) -> str:
        return self._url

    def read(self, name: str) -> bytes:
        try:
            return self._files.cat_file(f"{self._root.rstrip('/')}/{name}")
        except FileNotFoundError as error:
            raise _missing(name, self._url) from error

    def check_size(self, name: str, expected_bytes: int) -> None:
        """Left to the download: asking a remote server for every size would cost one round trip a shard."""

    def array(self, name: str, tar_bytes: int, sha256: str) -> np.ndarray:
        return self._need_cache().array(self._file(name, tar_bytes, sha256))

    def prefetch(self, name: str, tar_bytes: int, sha256: str) -> None:
        self._need_cache().prefetch(self._file(name, tar_bytes, sha256))

    def _file(self, name: str, tar_bytes: int, sha256: str) -> RemoteFile:
        return RemoteFile(self._files, f"{self._root.rstrip('/')}/{name}", tar_bytes, sha256)

    def _need_cache(self) -> ShardCache:
        if self.cache is None:
            raise ConfigError(f"{self._url} is remote; open it with cache=CacheConfig(folder, max_bytes)")
        return self.cache


def open_folder(url: str | Path, cache: ShardCache | None = None) -> Folder:
    """The folder at a path or URL. `file://` is read in place, unless a cache is given."""
    text = str(url)
    if text.startswith("file://") and cache is None:
        text = text.removeprefix("file://")
    if "://" in text:
        return RemoteFolder(text, cache)
    if cache is not None:
        raise ConfigError(f"{text} is a local path and is read in place; drop cache=, or write file://{text}")
    return LocalFolder(Path(text))


def _missing(name: str, root: Path | str) -> IncompleteSet:
    if name == "manifest.json":
        return IncompleteSet(
            f"manifest.json not found in {root}: it is written last, so either the build has not finished "
            "(run it again, it continues) or this is not the folder of a shard set"
        )
    return IncompleteSet(
        f"{name}: named by the manifest but not found in {root}; rebuild this shard or download it again"
    )
