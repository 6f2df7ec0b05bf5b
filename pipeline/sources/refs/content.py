"""What the annotation files of refs come to: pictures by split and key, their refs, and what is wrong with which entry.

Owns the bookkeeping while files are read: every entry becomes a ref or a fault of its picture, a fault without a
picture gets a record of its own that is always rejected, and what was found and kept is counted for whoever builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline.sources.pairs.matching import key_of
from shards.geometry.view import Size


@dataclass(frozen=True)
class RefEntry:
    """One ref as its file says it.

    Attributes:
        name: of the entry, for messages: "ref 17", "line 3".
        target: what its source draws as a mask.
        meta: what is stored of it beside the mask.
    """

    name: str
    sentences: tuple[str, ...]
    target: Any
    meta: Mapping[str, Any]


@dataclass
class RefPicture:
    """A picture with its refs, in the order of the file.

    Attributes:
        file_name: below the folder of pictures; empty where the entry does not say.
        size_px: (h, w) as annotated, if it is.
        meta: what is stored of the picture.
        faults: entries that cannot be used, and why.
    """

    file_name: str
    size_px: Size | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    refs: list[RefEntry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Content:
    """Everything that was read. `sha256` maps names of files to the hash of their bytes."""

    pictures: Mapping[str, Mapping[str, RefPicture]]  # split -> key -> picture
    notices: Mapping[str, Sequence[str]]  # split -> lines
    sha256: Mapping[str, str]


class Collected:
    """Collects the content of one split, entry by entry."""

    def __init__(self) -> None:
        self.by_file: dict[str, RefPicture] = {}
        self._lost: list[str] = []
        self._notes: dict[str, list[str]] = {}
        self._ids: set[Any] = set()

    def picture(self, file_name: str) -> RefPicture:
        return self.by_file.setdefault(file_name, RefPicture(file_name))

    def fault(self, file_name: str, why: str) -> None:
        """An entry cannot be used; `file_name` is empty if its picture is not known."""
        if file_name:
            self.picture(file_name).faults.append(why)
        else:
            self._lost.append(why)

    def note(self, kind: str, name: str) -> None:
        """Something was found in the entry `name` and kept, or repaired; `kind` is in words."""
        self._notes.setdefault(kind, []).append(name)

    def note_id(self, value: Any, name: str) -> None:
        if value in self._ids:
            self.note("entries have an id that came before; all are kept", name)
        self._ids.add(value)

    def notices(self) -> list[str]:
        return [f"{len(names)} {kind} (first: {names[0]})" for kind, names in self._notes.items()]

    def pictures(self) -> dict[str, RefPicture]:
        """By key, ascending: the name without suffix, or with it where two pictures differ in nothing else."""
        stems: dict[str, int] = {}
        for name in self.by_file:
            stems[_stem(name)] = stems.get(_stem(name), 0) + 1
        found = {
            key_of(_stem(name) if stems[_stem(name)] == 1 else name): picture for name, picture in self.by_file.items()
        }
        for number, why in enumerate(self._lost):
            found[f"no-picture-{number:06d}"] = RefPicture("", faults=[why])
        return dict(sorted(found.items()))


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()
