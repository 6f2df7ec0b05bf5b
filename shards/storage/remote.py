"""A set's files behind a URL: tars come through a cache, or by ranges, and what is built here is uploaded. The requests
are `shards.storage.store`'s, the cache is `shards.storage.cache`'s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from shards.errors import CorruptShard
from shards.storage.atomic import sha256_bytes
from shards.storage.cache import ShardCache
from shards.storage.faults import missing, other_bytes, other_size
from shards.storage.fetching import RemoteFile
from shards.storage.open_files import Hold, TarBytes
from shards.storage.staging import staging_folder, sweep_staging
from shards.storage.store import Store

_READS = 4  # of a small file that comes damaged, or differently each time


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
                raise missing(name, self) from error
            if payload == before if not sha256 else sha256_bytes(payload) == sha256:
                return payload
            before = payload
        if sha256:
            raise other_bytes(name, self, payload, sha256)
        raise CorruptShard(f"{name}: {_READS} readings in a row came with different bytes, from {self}")

    def lend(self, name: str, sha256: str) -> memoryview:
        return memoryview(self.read(name, sha256))

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
            raise missing(name, self) from error
        if found_bytes != expected_bytes:
            raise other_size(name, self, found_bytes, expected_bytes)

    def sha256(self, name: str) -> str:
        try:
            return self.store.sha256(name)
        except FileNotFoundError as error:
            raise missing(name, self) from error

    def known_sha256(self, name: str) -> str:
        return self.store.known_sha256(name)

    def hold(self, name: str, tar_bytes: int, sha256: str) -> Hold:
        if self.cache is None:
            ranges = TarBytes.by_parts(tar_bytes, lambda start, end: self.store.read_range(name, start, end))
            return lambda: ranges
        return self.cache.hold(RemoteFile(self.store, name, tar_bytes, sha256)).result

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        with staging_folder() as folder:
            path = folder / Path(name).name
            self.bring(name, path)
            yield path

    def bring(self, name: str, path: Path) -> str:
        try:
            with path.open("wb") as file:
                return self.store.download(name, file)
        except FileNotFoundError as error:
            raise missing(name, self) from error

    def names(self, pattern: str) -> list[str]:
        return [name for name in self.store.names() if "/" not in name and fnmatch(name, pattern)]

    def write(self, name: str, payload: bytes) -> None:
        self.store.write(name, payload)

    def create(self, name: str, payload: bytes) -> bool:
        return self.store.create(name, payload)

    def replace(self, name: str, before: bytes, payload: bytes) -> bool:
        return self.store.replace(name, before, payload)

    def rename(self, name: str, new_name: str) -> None:
        try:
            self.store.rename(name, new_name)
        except FileNotFoundError as error:
            raise missing(name, self) from error

    def remove(self, name: str) -> None:
        self.store.delete(name)

    def below(self, name: str) -> RemoteFolder:
        return RemoteFolder(self.store.below(name), self.cache)

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
