"""Which files of one's own data belong to which split: folders of their own, a list, or a seeded share.

Owns the three ways, and that exactly one of them is chosen. Where the files are is `matching`'s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from shards.errors import ConfigError, SourceError

DEFAULT = ("train", "val")


class Chosen(Protocol):
    """Chooses the stems of a split."""

    def stems(self, known: Sequence[str], image: tuple[str, tuple[str, ...]], split: str) -> list[str]:
        """Of the `known` stems in order, those of the split; `image` is the prefix and the suffixes of pictures."""
        ...


@dataclass(frozen=True)
class ListFile:
    """A text file with a line for each picture: its stem, its file name, or the paths of picture and partner."""

    path: Path
    root: Path

    def stems(self, known: Sequence[str], image: tuple[str, tuple[str, ...]], split: str) -> list[str]:
        """Stems that no file has stay in it, and become rejects; SourceError where that is all of them."""
        prefix, suffixes = image
        all_of_them = set(known)
        found = [_stem(line, prefix, suffixes, all_of_them) for line in self.lines()]
        if not all_of_them & set(found):
            raise SourceError(
                f"{self.path}: names none of the {len(known)} pictures of split {split}, such as {known[0]!r}; its "
                f"first line is {found[0]!r}. Expected a line for each: its name, with or without suffix, or the paths "
                "of a picture and its label"
            )
        return sorted(set(found))

    def path_pairs(self) -> list[tuple[str, str, str]]:
        """(stem, picture, partner) of every line of a list in two columns; nothing if it has one."""
        rows = [line.split() for line in self.lines()]
        if any(len(row) != 2 or not all(PurePosixPath(word).suffix for word in row) for row in rows):
            return []
        pairs = []
        for image, label in rows:
            inside = [PurePosixPath(word.lstrip("/")) for word in (image, label)]
            if any(".." in path.parts for path in inside):
                raise SourceError(f"{self.path}: {image} {label}: a path that leaves its folder")
            pairs.append((inside[0].with_suffix("").as_posix(), *(path.as_posix() for path in inside)))
        stems = [stem for stem, _, _ in pairs]
        if len(set(stems)) < len(stems):
            raise SourceError(f"{self.path}: names {next(s for s in stems if stems.count(s) > 1)!r} twice")
        return pairs

    def lines(self) -> list[str]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{self.path}: cannot be read as the list of a split: {error}") from error
        lines = [line.strip() for line in text.splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise SourceError(f"{self.path}: is empty; expected a line for each picture of the split")
        return found


@dataclass(frozen=True)
class Share:
    """The part from `start` to `end`, of 1, of all stems in an order that the seed shuffles."""

    start: float
    end: float
    seed: int

    def stems(self, known: Sequence[str], image: tuple[str, tuple[str, ...]], split: str) -> list[str]:
        order = sorted(known, key=lambda stem: hashlib.sha256(f"{self.seed}\n{stem}".encode()).digest())
        first, last = round(self.start * len(order)), round(self.end * len(order))
        if first == last:
            raise SourceError(
                f"split {split}: {self.end - self.start:g} of {len(known)} pictures are none; give it more"
            )
        return sorted(order[first:last])


@dataclass(frozen=True)
class Splits:
    """The splits of a source, and how each chooses its files; None: by a folder of its own."""

    chosen: Mapping[str, Chosen | None]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.chosen)


def splits_of(
    source: str,
    root: Path,
    splits: Sequence[str],
    lists: Mapping[str, str],
    shares: Mapping[str, float],
    seed: int,
    folders: Sequence[str],
) -> Splits:
    """The one way that the options say.

    Args:
        folders: of pictures and partners, as configured; without a list or shares each needs `{split}` if there are
            several splits.

    Raises:
        ConfigError: two ways at once, none, a split twice, or shares that are none.
    """
    where = f"source {source}"
    if sum(map(bool, (splits, lists, shares))) > 1:
        raise ConfigError(f"{where}: splits, lists and shares each name the splits; give one of them")
    names = tuple(splits or lists or shares or DEFAULT)
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: splits is {list(names)}; expected different names, at least one")
    if shares:
        total = sum(shares.values())
        if min(shares.values()) <= 0 or not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ConfigError(
                f"{where}: shares {dict(shares)} add up to {total:g}; expected parts above 0 that add up to 1. Name "
                "the rest too, and leave it out of the build's splits"
            )
    if shares and (apart := [text for text in folders if "{split}" in text]):
        raise ConfigError(f"{where}: {apart[0]!r} has a folder for each split already; leave shares out, or {{split}}")
    if not lists and not shares and len(names) > 1 and (shared := [text for text in folders if "{split}" not in text]):
        raise ConfigError(
            f"{where}: {shared[0]!r} is one folder for all of {', '.join(names)}; put {{split}} into it, or say which "
            "picture is whose: lists: {train: train.txt, val: val.txt}, or shares: {train: 0.9, val: 0.1}"
        )
    if lists:
        return Splits({split: ListFile(root / path, root) for split, path in lists.items()})
    if not shares:
        return Splits(dict.fromkeys(names))
    chosen: dict[str, Chosen | None] = {}
    start = 0.0
    for split, share in shares.items():
        chosen[split] = Share(start, min(start + share, 1.0), seed)
        start += share
    return Splits(chosen)


def _stem(line: str, prefix: str, suffixes: tuple[str, ...], known: set[str]) -> str:
    """The stem that a line names: as it is, or with the prefix, the suffix and folders of a picture's path."""
    line = line.lstrip("/")
    if line in known:
        return line
    suffix = next((suffix for suffix in suffixes if line.lower().endswith(suffix.lower())), "")
    folder, _, name = line[: len(line) - len(suffix)].rpartition("/")
    name = name.removeprefix(prefix)
    candidates = [f"{folder}/{name}" if folder else name, name]
    return next((stem for stem in candidates if stem in known), candidates[0])
