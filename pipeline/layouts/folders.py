"""Where the splits of two folders are: folders of their own, lists beside them, or none, which then are seeded shares.

Owns the names that splits go by (train, training, val, valid, validation, test, testing, also with a year), and paths
with `{split}` in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.layouts.guess import Option, Splits
from pipeline.sources.pairs.splits import ListFile
from shards.errors import SourceError

_WORDS = r"(?:training|train|validation|valid|val|testing|test)"
FOLDER = re.compile(rf"{_WORDS}\d*", re.IGNORECASE)
_IN_PATH = re.compile(rf"(?<![A-Za-z]){_WORDS}(?:(?:19|20)\d\d)?(?=annot|[^A-Za-z0-9]|$)", re.IGNORECASE)
_LISTS = ("", "splits", "split", "lists", "ImageSets/Segmentation", "ImageSets/Main", "ImageSets")
VAL_SHARE = 0.1


@dataclass(frozen=True)
class Places:
    """Where pictures and labels are, with `{split}` where each split has a folder of its own.

    Attributes:
        root: what both are below.
        folders: split to its two folders; the empty split is one that has no folders of its own.
    """

    root: Path
    images: str
    labels: str
    folders: Mapping[str, tuple[Path, Path]]

    @property
    def all_images(self) -> list[Path]:
        return [images for images, _ in self.folders.values()]

    @property
    def all_labels(self) -> list[Path]:
        return [labels for _, labels in self.folders.values()]


def folder(path: str | Path, what: str) -> Path:
    """SourceError: it is none; says what its parent holds."""
    found = Path(os.path.expanduser(path)).absolute()
    if found.is_dir():
        return found
    if found.is_file():
        raise SourceError(f"{what}={path} is a file; expected the folder that holds them")
    beside = sorted(p.name for p in found.parent.iterdir())[:8] if found.parent.is_dir() else []
    there = f"{found.parent} holds {', '.join(beside) or 'nothing'}" if found.parent.is_dir() else "nor is its parent"
    raise SourceError(f"{what}={path} is no folder; {there}")


def places_of(images: Path, labels: Path) -> Places:
    """The folders of every split, as far as folders tell splits apart."""
    for found in (_children(images, labels), _in_path(images, labels)):
        if found:
            return found
    root = Path(os.path.commonpath([images, labels]))
    return Places(root, _below(images, root), _below(labels, root), {"": (images, labels)})


def splits_of(places: Places, stems: Sequence[str], listed: Mapping[str, str]) -> tuple[Splits, dict[str, Option]]:
    """The splits, and the option that says how they are told apart.

    Args:
        stems: what is common to the names of pictures and labels, of places without splits.
        listed: split to a list file, as `lists_beside` found them.
    """
    if "" not in places.folders:
        splits = chosen(list(places.folders), "folders of these names")
        return splits, {"splits": Option(list(splits.names), splits.why)}
    if listed:
        splits = chosen(list(listed), f"lists {', '.join(listed.values())}")
        return splits, {"lists": Option(dict(listed), "lists that name these pictures")}
    if len(stems) < 2:
        why = "one picture: nothing is left to validate on"
        return Splits(("train",), "train", "", why), {"splits": Option(["train"], why)}
    share = max(VAL_SHARE, round(1 / len(stems), 3) if len(stems) < 10 else 0)
    why = "no split was found: drawn by a seed. Pictures of one place or film belong into one split, then use lists"
    shares = {"train": round(1 - share, 3), "val": round(share, 3)}
    return Splits(("train", "val"), "train", "val", why), {"shares": Option(shares, why)}


def of_training(stems: Sequence[str], splits: Splits, ways: Mapping[str, Option], root: Path) -> int:
    """How many of the pictures of places without splits are trained on: by the share, or the lines of the list."""
    if "shares" in ways:
        return round(ways["shares"].value[splits.train] * len(stems))
    if "lists" in ways:
        return min(len(ListFile(root / ways["lists"].value[splits.train], root).lines()), len(stems))
    return len(stems)


def chosen(names: Sequence[str], what: str) -> Splits:
    """Which of the splits is trained on and which is validated on."""
    found = sorted(names, key=_order)
    train = next((name for name in found if name.lower().startswith("train")), found[0])
    rest = [name for name in found if name != train]
    val = next((name for name in rest if name.lower().startswith("val")), rest[0] if rest else "")
    used = f"{train} is trained on" + (f", {val} validates" if val else ", nothing validates")
    left = [name for name in rest if name != val]
    more = f"; {', '.join(left)} only built" if left else ""
    return Splits(tuple(found), train, val, f"{what}: {used}{more}")


def lists_beside(root: Path, stems: Sequence[str]) -> dict[str, str]:
    """List files below the root, by split, that name at least one of the pictures."""
    known = {Path(stem).name for stem in stems}
    found: dict[str, str] = {}
    for place in _LISTS:
        for path in sorted((root / place).glob("*.txt")) if (root / place).is_dir() else ():
            if FOLDER.fullmatch(path.stem) and path.stem not in found and _names_any(path, known):
                found[path.stem] = path.relative_to(root).as_posix()
        if found:
            break
    return found if any(name.lower().startswith("train") for name in found) else {}


def twins(path: Path) -> dict[str, tuple[Path, str]]:
    """Split to (path, template) of every path that differs from this one by the name of its split; at least two, or
    none."""
    for match in reversed(list(_IN_PATH.finditer(path.as_posix()))):
        text = path.as_posix()
        before, after = text[: match.start()], text[match.end() :]
        found = {}
        for name in _beside(Path(before + match[0] + after), before, after):
            found[name] = (Path(before + name + after), f"{before}{{split}}{after}")
        if len(found) > 1:
            return dict(sorted(found.items(), key=lambda entry: _order(entry[0])))
    return {}


def _beside(path: Path, before: str, after: str) -> Iterator[str]:
    """Names of splits in the place of the one in a path, for which there is such a path."""
    parent = Path(before + "x").parent
    start = before[len(parent.as_posix().rstrip("/")) + 1 :]
    for entry in parent.iterdir():
        match = _IN_PATH.match(entry.name, len(start)) if entry.name.startswith(start) else None
        if match and Path(before + match[0] + after).exists():
            yield match[0]


def _children(images: Path, labels: Path) -> Places | None:
    names = [p.name for p in sorted(images.iterdir()) if p.is_dir() and FOLDER.fullmatch(p.name)]
    both = sorted((name for name in names if (labels / name).is_dir()), key=_order)
    if not both:
        return None
    root = Path(os.path.commonpath([images, labels]))
    if len(both) == 1:
        images, labels = images / both[0], labels / both[0]
        return Places(root, _below(images, root), _below(labels, root), {"": (images, labels)})
    at = [f"{_below(path, root)}/{{split}}".removeprefix("./") for path in (images, labels)]
    return Places(root, at[0], at[1], {name: (images / name, labels / name) for name in both})


def _in_path(images: Path, labels: Path) -> Places | None:
    ours, theirs = twins(images), twins(labels)
    both = [name for name in ours if name in theirs]
    if len(both) < 2:
        return None
    templates = [Path(found[both[0]][1]) for found in (ours, theirs)]
    roots = [next(parent for parent in path.parents if "{split}" not in parent.as_posix()) for path in templates]
    root = Path(os.path.commonpath(roots))
    at = [path.relative_to(root).as_posix() for path in templates]
    return Places(root, at[0], at[1], {name: (ours[name][0], theirs[name][0]) for name in both})


def _names_any(path: Path, known: set[str]) -> bool:
    try:
        words = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()[:50]]
    except (OSError, UnicodeDecodeError):
        return False
    names = [Path(row[0]) for row in words if row]
    return any(name.name in known or name.stem in known or f"{name}" in known for name in names)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _order(name: str) -> tuple[int, str]:
    lower = name.lower()
    return (0 if lower.startswith("train") else 1 if lower.startswith("val") else 2, name)
