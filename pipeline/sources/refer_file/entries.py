"""Entries of a JSON or JSONL file, and the keys under which people keep picture, sentences and target.

Owns the file's two forms (a JSON list; one entry a line) and the names of the keys. What a target's value means is
`targets`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.files.entries import checked, parse_json, relative_name, taken
from pipeline.files.foreign import foreign_below, of_json, said
from shards.errors import ConfigError, SourceError, did_you_mean

NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "image_path", "file_name", "filename", "img"),
    "sentences": ("sentences", "sentence", "text", "texts", "phrase", "expression", "expressions", "caption"),
    "id": ("id", "ref_id", "sent_id"),
    "mask": ("mask", "masks", "mask_path"),
    "rle": ("rle", "rles"),
    "segmentation": ("segmentation",),
    "polygon": ("polygons", "polygon", "Polygons"),
    "box": ("boxes", "box", "bbox", "bboxes"),
}
TARGETS = ("mask", "rle", "segmentation", "polygon", "box")  # the first one that an entry has is meant


def names_of(fields: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The keys of every role, with those that a configuration names in place of the usual ones. ConfigError."""
    for role in fields:
        if role not in NAMES:
            known = ", ".join(NAMES)
            raise ConfigError(f"source refer_file: fields names {role!r}.{did_you_mean(role, NAMES)} Known: {known}")
    return {role: (fields[role],) if role in fields else usual for role, usual in NAMES.items()}


def entries_of(payload: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    """(name, entry) of every entry; an entry that is no JSON is the SourceError that says so. SourceError: the file
    is of neither form."""
    text = payload.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        raise SourceError(f"{path}: is empty; expected a JSON list of entries, or one entry a line")
    if text.startswith(b"["):
        for place, entry in enumerate(checked(parse_json(text, str(path)), list, str(path))):
            yield f"{path.name} entry {place}", entry
        return
    lines = payload.removeprefix(b"\xef\xbb\xbf").splitlines()
    if len(lines) > 1 and lines[0].strip() == b"{":
        if found := foreign_below(path):
            raise SourceError(said(*found))
        raise SourceError(
            f"{path}: is one JSON object over many lines; expected a list of entries, or one entry a line"
        )
    for number, line in enumerate(lines, 1):
        if line.strip():
            name = f"{path.name} line {number}"
            try:
                yield name, parse_json(line, name)
            except SourceError as error:
                yield name, error


def value_of(entry: Mapping[str, Any], role: str, names: Mapping[str, tuple[str, ...]], where: str) -> Any:
    """What an entry holds under the keys of a role; None if nothing. SourceError: under two of them."""
    found = [key for key in names[role] if entry.get(key) is not None]
    if len(found) > 1:
        raise SourceError(f"{where}: has {found[0]!r} and {found[1]!r}; say which one is meant: fields={{{role}: KEY}}")
    return entry[found[0]] if found else None


def image_of(entry: Any, names: Mapping[str, tuple[str, ...]], where: str) -> str:
    """Name of the entry's picture, below the folder of pictures. SourceError."""
    if not isinstance(entry, dict):
        raise SourceError(f"{where}: is {type(entry).__name__}; expected an object with picture, sentences and target")
    value = value_of(entry, "image", names, where)
    if foreign := of_json(entry):
        raise SourceError(said(foreign, where))
    if value is None:
        raise SourceError(f"{where}: names no picture; expected one of the keys {', '.join(names['image'])}")
    return relative_name(checked(value, str, f"{where}: the picture's name"), f"{where}: the picture's name")


def sentences_of(
    entry: Mapping[str, Any], names: Mapping[str, tuple[str, ...]], where: str
) -> tuple[list[str], list[str]]:
    """The sentences that can be used, and what is wrong with the others. SourceError: none can."""
    value = value_of(entry, "sentences", names, where)
    if value is None:
        raise SourceError(f"{where}: has no sentence; expected one of the keys {', '.join(names['sentences'])}")
    usable, faults = [], []
    for place, text in enumerate(value if isinstance(value, list) else [value]):
        at = f"{where}, sentence {place}"
        try:
            if not checked(text, str, at).strip():
                raise SourceError(f"{at}: is empty")
            usable.append(text)
        except SourceError as error:
            faults.append(str(error))
    if not usable:
        raise SourceError("; ".join(faults) or f"{where}: its list of sentences is empty")
    return usable, faults


def size_of(entry: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """(h, w) if the entry states them."""
    if "height" not in entry and "width" not in entry:
        return None
    return taken(entry, "height", int, where), taken(entry, "width", int, where)
