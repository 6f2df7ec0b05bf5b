"""Where a set's files are: a local folder, or a URL whose tars are read through a bounded cache, or by ranges.

Readers `read` a small file whole (manifest, index, table) and `hold` a tar as read-only bytes; builders have files
`staged` beside their place or on this machine, and `publish` them in one step each. Which files there are and what
their hashes are is the manifest's business.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from shards.errors import ConfigError
from shards.storage.cache import ShardCache
from shards.storage.local import LocalFolder
from shards.storage.open_files import Hold
from shards.storage.options import StorageOptions
from shards.storage.remote import RemoteFolder
from shards.storage.store import Store


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

    def lend(self, name: str, sha256: str) -> memoryview:
        """As `read`, in memory that this thread's next call may use again: for who keeps nothing of it."""
        ...

    def exists(self, name: str) -> bool: ...

    def check_size(self, name: str, expected_bytes: int) -> None:
        """IncompleteSet if a file is missing, CorruptShard if it is of another size."""
        ...

    def sha256(self, name: str) -> str:
        """Of a file's bytes, all of them read."""
        ...

    def known_sha256(self, name: str) -> str:
        """What the place itself says of a file's sha256, without reading it; '' where it says nothing."""
        ...

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        """Start bringing a tar here, and keep it here while the result is referenced."""
        ...

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """A file as one on this machine, for a walk over all of it."""
        ...

    def bring(self, name: str, path: Path) -> str:
        """Copy a file to a path of this machine; returns the sha256 of what arrived."""
        ...

    def names(self, pattern: str) -> list[str]:
        """Files of this folder itself whose name fits, sorted."""
        ...

    def write(self, name: str, payload: bytes) -> None:
        """Create or replace a small file in one step."""
        ...

    def create(self, name: str, payload: bytes) -> bool:
        """Create a small file unless there is one; of several who try at once, one succeeds."""
        ...

    def replace(self, name: str, before: bytes, payload: bytes) -> bool:
        """Replace a small file that still holds `before`; of several who try at once, one succeeds."""
        ...

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name below this folder, in one step. IncompleteSet if it does not exist."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def below(self, name: str) -> Folder:
        """A folder in this one, which need not exist."""
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
