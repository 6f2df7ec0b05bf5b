"""Where tars lie: a folder of this machine, or a URL. Listing those that a pattern matches, and bytes of one.

A pattern is that of `pathlib` (`*` stays inside of a folder, `**` stands for folders), or names with numbers in braces,
`{00000..00331}.tar`, which need no listing: plain web servers give none. Owns patterns and what tells a tar from an
earlier one of its name; requests are `shards.storage.store`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from pipeline.files.patterns import folder_and_pattern
from pipeline.files.readable import opened
from shards.errors import ConfigError, Reject, SourceError
from shards.storage.options import StorageOptions, check_printable, check_printable_url
from shards.storage.store import Store

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SIGNS = frozenset("*?[")
_MOST_NAMES = 1_000_000  # that braces may stand for
_ASKS_AT_ONCE = 16


@dataclass(frozen=True)
class TarFile:
    """A tar below its place. `stamp` is another whenever it was written again: its time, or the store's tag."""

    name: str
    n_bytes: int
    stamp: str


class TarPlace(Protocol):
    """`str` of it is for people and for telling places apart. Pickles."""

    def tars(self, pattern: str) -> list[TarFile]:
        """Those that a pattern matches, by name. SourceError: named, and not there."""
        ...

    def read(self, tar: TarFile, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of a tar, fewer where it ends. SourceError: it is not there, or another one."""
        ...


def place_of(root: str, storage: StorageOptions) -> TarPlace:
    """The place at a path or URL. ConfigError: storage options of a path."""
    if "://" in root and not root.startswith("file://"):
        check_printable(storage, "source.storage")
        check_printable_url(root, "source.root")
        return RemoteTars(root, storage)
    if storage:
        raise ConfigError(f"source pictures: storage is for URLs, and root is the folder {root}; leave it out")
    return LocalTars(Path(os.path.expanduser(root.removeprefix("file://"))))


def names_of(pattern: str) -> list[str]:
    """What braces with numbers stand for; the pattern itself where there are none. ConfigError: too many."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _MOST_NAMES:
        raise ConfigError(f"{pattern}: {match[0]} stands for {last - first + 1} names; expected 1 to {_MOST_NAMES}")
    found: list[str] = []
    for number in range(first, last + 1):
        found += names_of(pattern[: match.start()] + str(number).zfill(len(match[1])) + pattern[match.end() :])
        if len(found) > _MOST_NAMES:
            raise ConfigError(f"{pattern}: stands for more than {_MOST_NAMES} names")
    return found


class LocalTars:
    """Below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def tars(self, pattern: str) -> list[TarFile]:
        names = names_of(pattern)
        is_list = len(names) > 1 or names[0] != pattern
        if is_list:
            return [self._file(self.root / name) for name in names]
        folder, below = folder_and_pattern(self.root, pattern)
        paths = sorted(folder.glob(below)) if below else [folder]
        return [self._file(path) for path in paths]

    def read(self, tar: TarFile, start: int, end: int) -> bytes:
        with self.opened(tar) as descriptor:
            return os.pread(descriptor, max(end - start, 0), start)

    def opened(self, tar: TarFile) -> _Descriptor:
        return _Descriptor(self.root / tar.name, tar)

    def _file(self, path: Path) -> TarFile:
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise SourceError(_absent(str(path))) from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read as a tar: {error.strerror}; copy it again") from error
        return TarFile(path.relative_to(self.root).as_posix(), found.st_size, str(found.st_mtime_ns))


class _Descriptor:
    """An open tar, for a `with`: of a thousand tars none stays open. SourceError: it is of another size by now."""

    def __init__(self, path: Path, tar: TarFile) -> None:
        self.path, self.tar = path, tar

    def __enter__(self) -> int:
        try:
            self._file = opened(self.path)
        except OSError as error:
            said = error.strerror or error
            raise SourceError(f"{self.path}: cannot be read as a tar: {said}; copy it again") from error
        n_bytes = os.fstat(self._file.fileno()).st_size
        if n_bytes != self.tar.n_bytes:
            self._file.close()
            raise SourceError(changed(str(self.path), f"{n_bytes} bytes, and had {self.tar.n_bytes}"))
        return self._file.fileno()

    def __exit__(self, *_: object) -> None:
        self._file.close()


class RemoteTars:
    """Below a URL. Pickles as it, and opens the store again."""

    def __init__(self, url: str, options: StorageOptions) -> None:
        self._opened = url, dict(options)
        self.store = Store.open(url, options or None)

    def __reduce__(self) -> tuple[type[RemoteTars], tuple[str, dict[str, object]]]:
        return RemoteTars, self._opened

    def __str__(self) -> str:
        return self.store.url.rstrip("/")

    def tars(self, pattern: str) -> list[TarFile]:
        names = names_of(pattern)
        if len(names) > 1 or names[0] != pattern or not _SIGNS & set(pattern):
            with ThreadPoolExecutor(_ASKS_AT_ONCE) as pool:
                return list(pool.map(self._file, names))
        if self.store.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{self}/{pattern}: a web server says nothing of what it has; name the tars by their numbers, as in "
                "{00000..00331}.tar"
            )
        parts = pattern.split("/")
        fixed = next(number for number, part in enumerate(parts) if _SIGNS & set(part))
        listed = self.store.entries("/".join(parts[:fixed]))
        found = [TarFile(one.name, one.n_bytes, one.stamp) for one in listed if fits(one.name.split("/"), parts)]
        return sorted(found, key=lambda one: one.name.split("/"))

    def read(self, tar: TarFile, start: int, end: int) -> bytes:
        end = min(end, tar.n_bytes)
        try:
            return self.store.read_part(tar.name, start, end) if end > start else b""
        except FileNotFoundError as error:
            raise SourceError(changed(f"{self}/{tar.name}", "gone")) from error

    def _file(self, name: str) -> TarFile:
        try:
            found = self.store.entry(name)
        except FileNotFoundError as error:
            raise SourceError(_absent(f"{self}/{name}")) from error
        return TarFile(name, found.n_bytes, found.stamp)


def changed(tar: str, what: str) -> str:
    """The message about a tar that is not what it was when it was listed."""
    return f"{tar}: changed while it was read: it is {what}. Run it again once nobody writes there"


def _absent(tar: str) -> str:
    return (
        f"{tar}: there is no such tar; look at the pattern. Braces hold numbers, as {{0..3}}, and * ? [ beside them "
        "stand for themselves"
    )


def cut(tar: str, member: str) -> Reject:
    """Of a file that a tar ends before."""
    return Reject(f"{tar}: ends inside of {member}; copy it again")


def fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path are those of a pattern, as `pathlib` has it."""
    return any(True for _ in _ways(parts, pattern))


def _ways(parts: Sequence[str], pattern: Sequence[str]) -> Iterator[None]:
    if not pattern:
        if not parts:
            yield
        return
    if pattern[0] == "**":
        for passed in range(len(parts) + 1):
            yield from _ways(parts[passed:], pattern[1:])
    elif parts and fnmatchcase(parts[0], pattern[0]):
        yield from _ways(parts[1:], pattern[1:])
