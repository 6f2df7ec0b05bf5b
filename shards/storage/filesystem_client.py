"""A client for the places that fsspec knows; which of them can be written says `shards.storage.clients`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 20
_STAMPS = ("ETag", "etag", "blob_id", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class Entry:
    """What a place says of a file. `stamp` is another whenever it was written again: the store's tag, or its time;
    empty where the place says neither."""

    name: str
    n_bytes: int
    stamp: str


class FilesystemClient:
    """A place that fsspec knows: `memory://` and `file://`, and others for reading; `hf://` is `hub_client`'s."""

    def __init__(self, files: Any, root: str, *, writable: bool) -> None:
        self.writable = writable
        self._files = files
        self._root = root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        return self._files.cat_file(self._path(name))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        return self._files.cat_file(self._path(name), start=start, end=end)

    def blocks(self, name: str, start: int) -> Iterator[Any]:
        with self._files.open(self._path(name), "rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK_BYTES):
                yield block

    def size(self, name: str) -> int:
        return self._files.info(self._path(name))["size"]

    def put(self, name: str, payload: bytes) -> None:
        self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(self._path(name), payload)

    def put_new(self, name: str, payload: bytes) -> bool:
        """These places decide nothing, so it is only as good as nobody else's coming in between."""
        if self._files.exists(self._path(name)):
            return False
        self.put(name, payload)
        return True

    def put_over(self, name: str, before: bytes, payload: bytes) -> bool:
        if self.read(name) != before:
            return False
        self.put(name, payload)
        return True

    def copy(self, name: str, new_name: str) -> None:
        self._files.cp_file(self._path(name), self._path(new_name))

    def put_file(self, name: str, path: Path) -> str:
        self.put(name, path.read_bytes())
        return ""

    def names(self, folder: str) -> list[str]:
        return [self._name(path) for path in self._files.find(self._path(folder))]

    def entries(self, folder: str) -> list[Entry]:
        found = self._files.find(self._path(folder), detail=True)
        return [_entry(self._name(path), info) for path, info in found.items()]

    def entry(self, name: str) -> Entry:
        return _entry(name, self._files.info(self._path(name)))

    def _name(self, path: str) -> str:
        return path.removeprefix("/").removeprefix(self._root.removeprefix("/")).strip("/")

    def delete(self, name: str) -> None:
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def sha256(self, name: str) -> str:
        return ""


def _entry(name: str, info: Mapping[str, Any]) -> Entry:
    stamp = next((info[key] for key in _STAMPS if info.get(key)), "")
    return Entry(name, info["size"], str(stamp).strip('"'))
