"""The two kinds of client behind a store: obstore for S3, Google, Azure and HTTP, fsspec for everything else.

A client does one request per call and raises what its library raises, but FileNotFoundError for a file that is not
there. Trying again, checking and words for people are `shards.storage.store`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from shards.errors import ConfigError
from shards.storage.filesystem_client import Entry, FilesystemClient
from shards.storage.options import StorageOptions, options_for, shown_url

_BLOCK_BYTES = 1 << 20
_ONE_REQUEST_BYTES = 128 << 20  # larger files go in parts: a broken one is sent again alone
PART_BYTES = 32 << 20
_OBJECT_STORES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_READ_ONLY = ("http", "https")
_OTHER_WRITABLE = ("memory", "file")
# Of the connection and not of the store. A stalled one is noticed after `read_timeout`; the whole time is for a file.
_CONNECTION = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "20min"}
_CONNECTION_NAMES = {
    *_CONNECTION,
    "allow_http",
    "allow_invalid_certificates",
    "default_headers",
    "proxy_url",
    "user_agent",
}


class Client(Protocol):
    """Requests to one place. Names are paths below it, with `/` between their parts."""

    writable: bool

    def read(self, name: str) -> bytes: ...

    def read_range(self, name: str, start: int, end: int) -> bytes: ...

    def blocks(self, name: str, start: int) -> Iterator[Any]:
        """The file from byte `start`, block by block."""
        ...

    def size(self, name: str) -> int: ...

    def put(self, name: str, payload: bytes) -> None:
        """Create or replace a file in one step."""
        ...

    def put_new(self, name: str, payload: bytes) -> bool:
        """Create a file unless there is one, decided by the store; whether it was created."""
        ...

    def put_over(self, name: str, before: bytes, payload: bytes) -> bool:
        """Replace a file if it holds `before`, decided by the store; whether it was replaced."""
        ...

    def copy(self, name: str, new_name: str) -> None:
        """Copy a file inside the store, in one step."""
        ...

    def put_file(self, name: str, path: Path) -> str:
        """Like `put`, from a local file; returns the store's tag for what it received, or ''."""
        ...

    def names(self, folder: str) -> list[str]:
        """All files at any depth below `folder` ('' for all)."""
        ...

    def entries(self, folder: str) -> list[Entry]:
        """`names`, with what the place says of each."""
        ...

    def entry(self, name: str) -> Entry: ...

    def delete(self, name: str) -> None:
        """Nothing happens if there is no such file."""
        ...

    def sha256(self, name: str) -> str:
        """What the store itself says of a file, without giving it out; '' if it says nothing."""
        ...


def client_of(url: str, given: StorageOptions | None) -> tuple[Client, StorageOptions]:
    """The client for a URL, and the options it was made with. ConfigError if there is none, or it refuses them."""
    protocol = url.split("://", 1)[0].lower()
    try:
        urlsplit(url)
    except ValueError:
        raise ConfigError(f"{shown_url(url)}: its host cannot be understood; write it anew") from None  # it repeats it
    family = _OBJECT_STORES.get(protocol, protocol)
    options = options_for(family, given)
    if family in _READ_ONLY or family in _OBJECT_STORES.values():
        return _object_client(url, family, options), options
    return _filesystem_client(url, protocol, options), options


def _object_client(url: str, family: str, options: dict[str, Any]) -> ObjectClient:
    from obstore.exceptions import BaseError
    from obstore.store import HTTPStore, from_url

    if family in _READ_ONLY and urlsplit(url).query:
        raise ConfigError(
            f"{shown_url(url)} has a query (?...): the files of a set have names below its URL, and a query signs "
            "one file alone. Read it by s3://, gs:// or az:// with credentials, or serve the folder."
        )
    connection = {**_CONNECTION, **{name: options[name] for name in options if name in _CONNECTION_NAMES}}
    config: Any = {name: value for name, value in options.items() if name not in _CONNECTION_NAMES}
    if family in _READ_ONLY or str(config.get("endpoint", _endpoint())).startswith("http://"):
        connection["allow_http"] = True
    shared: dict[str, Any] = {"client_options": connection, "retry_config": {"max_retries": 0}}
    try:
        if family in _READ_ONLY:
            return ObjectClient(HTTPStore.from_url(url, **shared), writable=False)
        return ObjectClient(from_url(url, config=config or None, **shared), writable=True)
    except (BaseError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{shown_url(url)}: its options {sorted(options)} are refused by obstore ({type(error).__name__}); see "
            "docs/storage.md for those there are"
        ) from None  # its text repeats values


def _entry(found: Any) -> Entry:
    return Entry(found["path"], found["size"], (found["e_tag"] or "").strip('"') or found["last_modified"].isoformat())


def _endpoint() -> str:
    import os

    return next((os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT") if name in os.environ), "")


def _filesystem_client(url: str, protocol: str, options: dict[str, Any]) -> FilesystemClient:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise ConfigError(f"{shown_url(url)}: nothing installed here reads {protocol}:// ({error})") from error
    except ValueError as error:
        raise ConfigError(
            f"{shown_url(url)}: unknown kind of URL; expected s3://, gs://, az://, http(s)://, hf://, file:// or memory://"
        ) from error
    return FilesystemClient(files, root, writable=protocol in _OTHER_WRITABLE)


class ObjectClient:
    """A store that obstore speaks to."""

    def __init__(self, store: Any, *, writable: bool) -> None:
        self.writable = writable
        self._store = store

    def read(self, name: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store, name).bytes())

    def read_range(self, name: str, start: int, end: int) -> bytes:
        import obstore

        return bytes(obstore.get_range(self._store, name, start=start, end=end))

    def blocks(self, name: str, start: int) -> Iterator[Any]:
        import obstore

        options: Any = {"range": {"offset": start}} if start else None
        yield from obstore.get(self._store, name, options=options).stream(min_chunk_size=_BLOCK_BYTES)

    def size(self, name: str) -> int:
        import obstore

        return obstore.head(self._store, name)["size"]

    def put(self, name: str, payload: bytes) -> None:
        import obstore

        obstore.put(self._store, name, payload, use_multipart=False)

    def put_new(self, name: str, payload: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._store, name, payload, use_multipart=False, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def put_over(self, name: str, before: bytes, payload: bytes) -> bool:
        import obstore
        from obstore.exceptions import PreconditionError

        found = obstore.get(self._store, name)
        if bytes(found.bytes()) != before:
            return False
        known = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
        version: Any = {name: value for name, value in known.items() if value is not None}
        try:
            obstore.put(self._store, name, payload, use_multipart=False, mode=version)
        except PreconditionError:
            return False
        return True

    def copy(self, name: str, new_name: str) -> None:
        import obstore

        obstore.copy(self._store, name, new_name)

    def put_file(self, name: str, path: Path) -> str:
        import obstore

        many = path.stat().st_size > _ONE_REQUEST_BYTES
        sent = obstore.put(self._store, name, path, use_multipart=many, chunk_size=PART_BYTES, max_concurrency=4)
        return (sent["e_tag"] or "").strip('"')

    def names(self, folder: str) -> list[str]:
        import obstore

        return [entry["path"] for page in obstore.list(self._store, prefix=folder or None) for entry in page]

    def entries(self, folder: str) -> list[Entry]:
        import obstore

        return [_entry(found) for page in obstore.list(self._store, prefix=folder or None) for found in page]

    def entry(self, name: str) -> Entry:
        import obstore

        return _entry({**obstore.head(self._store, name), "path": name})

    def delete(self, name: str) -> None:
        import obstore

        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def sha256(self, name: str) -> str:
        return ""
