"""A store of files behind a URL: every request tried again while its failure may pass, checked where it can be, and
one error of ours at the end.

Raises FileNotFoundError for a file to read that is not there and StoreFailed for everything else a store does; the
client's own text may hold a credential, so it is shown without secrets and never chained. What the files mean is the
folder's business (`shards.storage.storage`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from shards.errors import ConfigError, CorruptShard, StoreFailed
from shards.storage.clients import PART_BYTES, Client, client_of
from shards.storage.filesystem_client import Entry
from shards.storage.hub_client import hub_client_of
from shards.storage.options import Secrets, StorageOptions, shown_url
from shards.storage.retry import Retry

RETRY = Retry()
_MISTAKES = (
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    NameError,
    ImportError,
    MemoryError,
)  # ours: not hidden
_REFUSED = ("PermissionDeniedError", "UnauthenticatedError", "PermissionError")
_REFUSED += ("RepositoryNotFoundError", "GatedRepoError", "DisabledRepoError")  # of the Hugging Face hub
_FINAL = ("NotSupportedError", "NotImplementedError", "InvalidPathError", "UnknownConfigurationKeyError")
_FINAL += ("OfflineModeIsEnabled", "HFValidationError", "RevisionNotFoundError")
_NO_CREDENTIALS = re.compile(
    r"169\.254\.169\.254|metadata\.google\.internal|ExpiredToken|InvalidAccessKeyId"
    # the hub's: a 403 without its words is of a link that expired meanwhile, and the next try asks for a new one
    r"|Invalid credentials in Authorization header|403 Forbidden: (?!None\.)"
)
_CANNOT_PASS = re.compile(r"status code: (405|410|501)|redirect without LOCATION|invalid peer certificate")
_SHOWN_CHARACTERS = 240

T = TypeVar("T")


class Store:
    """The files below `url`. Make one with `Store.open`."""

    def __init__(self, url: str, client: Client, secrets: Secrets, options: StorageOptions | None = None) -> None:
        self.url = shown_url(url)
        self.client = client
        self._secrets = secrets
        self._opened = (url, options)

    @staticmethod
    def open(url: str, options: StorageOptions | None = None) -> Store:
        """The store at a URL. ConfigError for an unknown kind, or for options that its client refuses."""
        client, used = hub_client_of(url, options) if url.startswith("hf://") else client_of(url, options)
        return Store(url, client, Secrets(url, used), options)

    def below(self, folder: str) -> Store:
        """The store of the files below a folder of this one."""
        url, options = self._opened
        return Store.open(f"{url.rstrip('/')}/{folder}", options)

    def __str__(self) -> str:
        return self.url

    def read(self, name: str) -> bytes:
        """A file, whole."""
        return self._try(name, "reading", lambda: self.client.read(name))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of a file."""
        payload = self._try(name, "reading", lambda: self._range(name, start, end))
        if len(payload) != end - start:
            raise StoreFailed(f"{self.url}/{name}: asked for bytes {start} to {end}, got {len(payload)} of them")
        return payload

    def read_part(self, name: str, start: int, end: int) -> bytes:
        """`read_range`, and StoreFailed in place of fetching a whole file for it from a server without ranges."""
        payload = self._try(name, "reading a part of", lambda: self.client.read_range(name, start, end))
        if len(payload) != end - start:
            raise StoreFailed(f"{self.url}/{name}: asked for bytes {start} to {end}, got {len(payload)} of them")
        return payload

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._try(name, "asking for the size of", lambda: self.client.size(name))

    def download(self, name: str, file: BinaryIO) -> str:
        """Copy a file into an open local one from its beginning; returns the sha256 of what came. What a broken
        connection has brought is kept, and the rest asked for."""
        digest, done = hashlib.sha256(), 0
        file.seek(0)

        def copy() -> None:
            nonlocal digest, done
            try:
                for block in self.client.blocks(name, done):
                    digest.update(block)
                    done += file.write(block)
            except Exception as error:
                if done and type(error).__name__ in _FINAL:  # a plain web server has no ranges: from the beginning
                    digest, done = hashlib.sha256(), 0
                    file.seek(0)
                    raise ConnectionError(f"{type(error).__name__} after a broken connection") from error
                raise

        self._try(name, "fetching", copy)
        file.truncate(done)
        return digest.hexdigest()

    def write(self, name: str, payload: bytes) -> None:
        """Create or replace a small file in one step, and read it back. CorruptShard if it has others each time."""
        self.check_writable()
        for _ in range(RETRY.attempts):
            self._send(name, "writing", lambda: self.client.put(name, payload))
            if self.read(name) == payload:
                return
        raise CorruptShard(f"{self.url}/{name}: written {RETRY.attempts} times, and each time other bytes came back")

    def upload(self, path: Path, name: str, sha256: str) -> None:
        """Create or replace a file from a local one of that sha256, and make sure that the store has its very bytes: by
        the MD5 or sha256 that it computed, where its tag is one, else by reading them back. CorruptShard if it has
        others each time."""
        self.check_writable()
        for _ in range(RETRY.attempts):
            tag = self._send(name, "uploading", lambda: self.client.put_file(name, path))
            told = tag == sha256 or _is_tag_of(tag, path)
            if self.size(name) == path.stat().st_size and (told or self.sha256(name) == sha256):
                return
        raise CorruptShard(f"{self.url}/{name}: uploaded {RETRY.attempts} times, and each time other bytes arrived")

    def create(self, name: str, payload: bytes) -> bool:
        """Create a small file unless there is one; whether it was created, now or by a try whose answer was lost."""
        self.check_writable()
        made = self._send(name, "creating", lambda: self.client.put_new(name, payload))
        return made or self._holds(name, payload)

    def replace(self, name: str, before: bytes, payload: bytes) -> bool:
        """Replace a small file that holds `before`; whether it was replaced, by a try whose answer was lost, too."""
        self.check_writable()
        try:
            made = self._try(name, "replacing", lambda: self.client.put_over(name, before, payload))
        except FileNotFoundError:
            return False
        return made or self._holds(name, payload)

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name; the store copies it, whole or not at all. FileNotFoundError."""
        self.check_writable()
        self._try(name, "copying", lambda: self.client.copy(name, new_name))
        if self.size(new_name) != self.size(name):
            raise CorruptShard(
                f"{self.url}/{new_name}: is not as long as {name}, which it was copied from; run it again"
            )
        self.delete(name)

    def _holds(self, name: str, payload: bytes) -> bool:
        try:
            return self.read(name) == payload
        except FileNotFoundError:
            return False

    def sha256(self, name: str) -> str:
        """sha256 of a file's bytes as the store gives them out."""

        def digest() -> str:
            found = hashlib.sha256()
            for block in self.client.blocks(name, 0):
                found.update(block)
            return found.hexdigest()

        return self._try(name, "reading back", digest)

    def known_sha256(self, name: str) -> str:
        """What the store itself says of a file's sha256; '' if it says nothing, or has no such file."""
        return self._try(name, "asking about", lambda: self.client.sha256(name))

    def names(self, folder: str = "") -> list[str]:
        """All files below a folder, sorted."""
        try:
            return sorted(self._try(folder or ".", "listing", lambda: self.client.names(folder)))
        except FileNotFoundError:
            return []

    def entries(self, folder: str = "") -> list[Entry]:
        """All files below a folder with their sizes and stamps, in no order; none where there is no such folder."""
        try:
            return self._try(folder or ".", "listing", lambda: self.client.entries(folder))
        except FileNotFoundError:
            return []

    def entry(self, name: str) -> Entry:
        """Size and stamp of a file."""
        return self._try(name, "asking about", lambda: self.client.entry(name))

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        self.check_writable()
        self._try(name, "removing", lambda: self.client.delete(name))

    def _range(self, name: str, start: int, end: int) -> bytes:
        try:
            return self.client.read_range(name, start, end) if end > start else b""
        except Exception as error:
            if type(error).__name__ not in _FINAL:
                raise
            return self.client.read(name)[start:end]  # a web server without ranges

    def check_writable(self) -> None:
        """ConfigError for a place that can only be read."""
        if not self.client.writable:
            raise ConfigError(
                f"{self.url} can be read and not written; write to s3://, gs://, az://, hf:// or a folder"
            )

    def _send(self, name: str, doing: str, action: Callable[[], T]) -> T:
        try:
            return self._try(name, doing, action)
        except FileNotFoundError:
            raise StoreFailed(f"{self.url}/{name}: {doing} it failed: there is no such bucket or container") from None

    def _try(self, name: str, doing: str, action: Callable[[], T]) -> T:
        cause: Any = None
        for _ in RETRY.tries():
            try:
                return action()
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(f"{self.url}/{name}") from None  # the client's text is not ours
            except _MISTAKES:
                raise
            except Exception as error:
                cause = error
                if self._is_final(error):
                    break
        raise StoreFailed(self._words(name, doing, cause)) from None

    def _is_final(self, error: Exception) -> bool:
        kind = type(error).__name__
        text = str(error)
        return kind in (*_REFUSED, *_FINAL) or bool(_NO_CREDENTIALS.search(text)) or bool(_CANNOT_PASS.search(text))

    def _words(self, name: str, doing: str, error: Exception) -> str:
        kind, text = type(error).__name__, " ".join(self._secrets.without(str(error)).split("Debug source")[0].split())
        said = re.search("<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", text)  # by S3 and Azure
        text = f"{said[1]}, {said[2]}" if said else text
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        where = f"{self.url}/{name}: {doing} it"
        if kind in _REFUSED or _NO_CREDENTIALS.search(str(error)):
            return (
                f"{where} was refused ({kind}: {shown}). Check that this machine has credentials, that they have not "
                "expired, and that they allow it (docs/storage.md)"
            )
        if kind in _FINAL:
            return f"{where} is nothing this store can do ({kind}: {shown})"
        if _CANNOT_PASS.search(str(error)):
            return f"{where} failed, and would again ({kind}: {shown}); look at the URL and the options of the store"
        return (
            f"{where} failed {RETRY.attempts} times, last with {kind}: {shown}; look at the network, then run it again"
        )


def _is_tag_of(tag: str, path: Path) -> bool:
    """Whether S3 would give a file this tag: its MD5, or if sent in parts of `PART_BYTES`, that of theirs, and how
    many."""
    in_parts = "-" in tag
    found = md5(usedforsecurity=False)
    if not re.fullmatch(r"[0-9a-f]{32}(-[0-9]+)?", tag):
        return False
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            found.update(md5(part, usedforsecurity=False).digest() if in_parts else part)
    return tag == found.hexdigest() + (f"-{-(-path.stat().st_size // PART_BYTES)}" if in_parts else "")
