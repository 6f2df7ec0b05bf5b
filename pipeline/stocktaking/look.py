"""A folder against the description of a dataset: which files are there, how many, and which are not.

Names and the sizes of single files only: whether a picture can be read is `check`'s business. Links are followed; one
that leads nowhere is a missing file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.stocktaking.facts import Dataset, Part
from shards.errors import ConfigError, SourceError

SHOWN = 3  # missing names


@dataclass(frozen=True)
class Found:
    """What there is of a part.

    Args:
        files: how many of its files there are.
        expected: how many there should be; 0: nobody knows.
        missing: some names, of files that the dataset names itself.
        fault: what else is wrong, or "".
    """

    part: Part
    files: int
    expected: int
    missing: tuple[str, ...] = ()
    fault: str = ""

    @property
    def whole(self) -> bool:
        return not self.fault and self.files >= max(self.expected, 1)


@dataclass(frozen=True)
class Stock:
    """What there is of one form of a dataset below a folder."""

    name: str
    form: str
    dataset: Dataset
    root: Path
    found: tuple[Found, ...]

    @property
    def lacking(self) -> list[Found]:
        """Needed parts that are not whole."""
        return [found for found in self.found if not found.whole and not found.part.without]


def take_stock(name: str, dataset: Dataset, folder: Path, form: str = "") -> Stock:
    """Look for a dataset in a folder, or in the folder of its usual name there.

    Raises:
        ConfigError: the dataset has no such form.
        SourceError: a folder cannot be read.
    """
    chosen = form or next(iter(dataset.forms))
    if chosen not in dataset.forms:
        raise ConfigError(
            f"form is '{form}', and {name} has {', '.join(dataset.forms)}: name one of them, or leave it out."
        )
    root = folder / dataset.folder if (folder / dataset.folder).is_dir() else folder
    return Stock(name, chosen, dataset, root, tuple(_look(part, root) for part in dataset.forms[chosen]))


def _look(part: Part, root: Path) -> Found:
    if part.named is not None:
        return _look_for_names(part, root)
    files = sum(1 for _ in _matching(str(root), part.path))
    fault = ""
    if part.size_bytes and files:
        size = (root / part.path).stat().st_size
        fault = f"has {size:,} bytes, published are {part.size_bytes:,}" if size != part.size_bytes else ""
    return Found(part, files, part.files, fault=fault)


def _look_for_names(part: Part, root: Path) -> Found:
    assert part.named is not None
    try:
        names = list(dict.fromkeys(part.named(root)))
    except OSError as error:
        there, why = sum(1 for _ in _matching(str(root), part.path)), os.path.relpath(error.filename or root, root)
        return Found(part, there, part.files, fault=f"cannot be told one by one without {why}")
    except ValueError as error:
        return Found(part, 0, part.files, fault=str(error))
    places = {name: name.rpartition("/") for name in names}
    # A folder is listed once: asking for every file takes minutes on a network disk.
    there = {folder: set(_matching(str(root / folder), "*")) for folder in {folder for folder, _, _ in places.values()}}
    missing = [name for name, (folder, _, file) in places.items() if file not in there[folder]]
    fault = (
        f"the dataset names {len(names):,}, published are {part.files:,}" if part.files not in (0, len(names)) else ""
    )
    return Found(part, len(names) - len(missing), len(names), tuple(missing[:SHOWN]), fault)


def _matching(folder: str, pattern: str) -> Iterator[str]:
    """Files below a folder whose path fits a pattern, in which * stays within one part."""
    head, _, rest = pattern.partition("/")
    try:
        with os.scandir(folder) as entries:
            fitting = [entry for entry in entries if fnmatchcase(entry.name, head)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read ({error.strerror})") from error
    for entry in fitting:
        if rest and entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in _matching(entry.path, rest))
        elif not rest and entry.is_file():
            yield entry.name
