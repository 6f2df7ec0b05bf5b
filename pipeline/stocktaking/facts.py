"""The words in which a published dataset is described: forms, parts, archives, mirrors.

A module of `pipeline.datasets` has `describe()`, which returns a Dataset. Counts, hashes and sizes stand there only
where somebody counted or recorded them; empty or 0 means that this project does not know. Looking is `look`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

Names = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Part:
    """Files of a dataset that a source reads.

    Args:
        path: below the root, with * in any of its parts; a file where there is none.
        what: they are.
        files: how many were published; 0: not known.
        size_bytes: of a single file.
        archive: name of the archive that has them.
        named: their paths below the root, as the dataset itself names them. OSError or ValueError: it cannot yet.
        without: what still works where they are missing; "": they are needed.
    """

    path: str
    what: str
    files: int = 1
    size_bytes: int = 0
    archive: str = ""
    named: Names | None = None
    without: str = ""


@dataclass(frozen=True)
class Archive:
    """A file to download, or how to make it. `digest` is "sha256 ..." or "sha1 ...", with who says so."""

    name: str
    url: str
    size: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Mirror:
    """A copy that is not the publisher's. `seen`: when somebody reported that it works, or ""."""

    url: str
    what: str
    seen: str = ""


@dataclass(frozen=True)
class Dataset:
    """A published dataset.

    Args:
        title: its name.
        page: the official page.
        terms: under which it may be used.
        folder: usual name of its root, below the folder of all data.
        builds: shipped configurations that read it, by their names in configs/build.
        forms: name of a form -> what is read then; the first is that of `builds`.
        archives, mirrors: where files are.
        notes: what goes wrong with them.
        keep: sets made of it are not published without the publisher's leave.
    """

    title: str
    page: str
    terms: str
    folder: str
    builds: tuple[str, ...]
    forms: Mapping[str, tuple[Part, ...]]
    archives: tuple[Archive, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    notes: tuple[str, ...] = field(default=())
    keep: bool = False


def counted(pattern: str, total: int) -> Names:
    """The names that a pattern gives for 1 to `total`, as in images/ADE_train_%08d.jpg."""
    return lambda root: [pattern % number for number in range(1, total + 1)]


def by_instances(file: str, folder: str) -> Names:
    """The pictures of a COCO annotation file, in a folder."""

    def names(root: Path) -> list[str]:
        try:
            images = orjson.loads((root / file).read_bytes())["images"]
            return [f"{folder}/{image['file_name']}" for image in images]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not a whole COCO annotation file ({type(error).__name__}: {error})") from error

    return names


def by_list(file: str, folder: str, column: int) -> Names:
    """One column of a list of pictures and depth, as paths below a folder ("": the root)."""

    def names(root: Path) -> list[str]:
        try:
            lines = [line.split() for line in (root / file).read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is no text ({error})") from error
        if short := [number for number, words in enumerate(lines, 1) if words and len(words) <= column]:
            raise ValueError(f"{file} line {short[0]} has no column {column + 1}")
        return ["/".join(filter(None, (folder, words[column].lstrip("/")))) for words in lines if words]

    return names
