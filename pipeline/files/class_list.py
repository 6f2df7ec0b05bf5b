"""A list of classes, as people and tools write it: the one reader for sources and prompt tables.

A list in a configuration, or a file in one of these forms, told apart by its content (UTF-8, with or without a
byte-order mark; empty lines and lines that begin with # are skipped in all but JSON):

    text       one name a line, in the order of the label values
    CSV        a header with `name` (or `class`), and `r`, `g`, `b`, or `Pixel Value`, or both
    labelmap   name:r,g,b:parts:actions on every line, as CVAT and Datumaro write it
    colours    r g b name on every line, CamVid's label_colors.txt
    JSON       a list of names, or dataset_meta.json with label_map and segmentation_colors

Owns the forms and their checks. What a value or a colour of a label file means is `label_coding`'s.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import ConfigError, SourceError

Colour = tuple[int, int, int]

FORMS = "one name a line, CSV with the columns name, r, g, b, a labelmap.txt, a list in JSON"
_NAME_COLUMNS, _VALUE_COLUMNS = ("name", "class", "class name", "label"), ("pixel value", "value", "id", "index")
_COLOUR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
_LABELMAP = re.compile(r"(?P<name>[^:]+):(?P<colour>\d+,\d+,\d+)?:[^:]*:[^:]*")
_COLOURS_FIRST = re.compile(r"(?P<colour>\d+\s+\d+\s+\d+)\s+(?P<name>.*\S)")


@dataclass(frozen=True)
class ClassList:
    """Names in the order of the file, and what else it says of each: its colour, its label value, or neither."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    values: tuple[int, ...] = ()


def class_list(classes: str | Sequence[str], root: Path | None = None, where: str = "classes") -> ClassList:
    """A list, or the file it names.

    Args:
        root: folder that a file is looked for in first.
        where: setting, for messages.

    Raises:
        ConfigError: something that is no text, an empty name, a name twice, or none at all.
        SourceError: the file cannot be read, or is of no known form.
    """
    if isinstance(classes, str):
        beside = root / classes if root is not None else Path(classes)
        return read_class_list(beside if beside.is_file() else Path(classes))
    if not isinstance(classes, Sequence) or isinstance(classes, bytes):
        raise ConfigError(f"{where} is {classes!r}; expected a list of names, or the path of a file with them")
    for name in classes:
        if not isinstance(name, str):
            raise ConfigError(
                f"{where} holds {name!r}, a {type(name).__name__} and no text: YAML reads off, on, yes, no, null and "
                f"numbers as other things. Quote it: '{name}'"
            )
    names = tuple(name.strip() for name in classes)
    if problem := _problem(names):
        raise ConfigError(f"{where} is {list(names)}: {problem}")
    return ClassList(names)


def read_class_list(path: Path) -> ClassList:
    """The classes of a file. SourceError: it cannot be read, is of no known form, or one of its entries is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"class list {path}: cannot be read: {error}; expected {FORMS}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"class list {path}: is not UTF-8 ({error}); save it as UTF-8, as {FORMS}") from error
    if path.suffix.lower() == ".json":
        found = _json(text, path)
    else:
        lines = [line.strip() for line in text.splitlines()]
        found = _lines([line for line in lines if line and not line.startswith("#")], path)
    if problem := _problem(found.names):
        raise SourceError(f"class list {path}: {problem}. Expected {FORMS}")
    for colour in found.colours:
        if max(colour) > 255:
            raise SourceError(f"class list {path}: colour {colour} is beyond 255")
    if twice := _twice(found.colours):
        raise SourceError(f"class list {path}: colour {twice[0]} stands for two classes; a label could not tell them")
    if twice := _twice(found.values):
        raise SourceError(f"class list {path}: value {twice[0]} stands for two classes")
    return found


def _lines(lines: list[str], path: Path) -> ClassList:
    for form in (_LABELMAP, _COLOURS_FIRST):
        rows = [form.fullmatch(line) for line in lines]
        if lines and all(rows):
            named = [row for row in rows if row is not None]
            names = tuple(row["name"].strip() for row in named)
            if not all(row["colour"] for row in named):
                return ClassList(names)
            return ClassList(names, tuple(_colour(re.split(r"[\s,]+", row["colour"]), path) for row in named))
    header = _cells(lines[0]) if lines else []
    if path.suffix.lower() == ".csv" or (set(header) & set(_NAME_COLUMNS) and len(header) > 1):
        return _table(lines, header, path)
    return ClassList(tuple(lines))


def _table(lines: list[str], header: list[str], path: Path) -> ClassList:
    name = next((column for column in _NAME_COLUMNS if column in header), None)
    if name is None:
        raise SourceError(
            f"class list {path}: its header is {header}; expected a column name, and r, g, b if it has any"
        )
    value = next((column for column in _VALUE_COLUMNS if column in header), None)
    colours = next((columns for columns in _COLOUR_COLUMNS if set(columns) <= set(header)), None)
    rows = [dict(zip(header, cells, strict=False)) for cells in csv.reader(lines[1:], skipinitialspace=True)]
    if short := [place for place, row in enumerate(rows, 2) if len(row) < len(header)]:
        raise SourceError(f"class list {path}: line {short[0]} has fewer columns than the header {header}")
    return ClassList(
        tuple(row[name].strip() for row in rows),
        tuple(_colour([row[column] for column in colours], path) for row in rows) if colours else (),
        tuple(_whole(row[value], path) for row in rows) if value else (),
    )


def _json(text: str, path: Path) -> ClassList:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f"class list {path}: not readable as JSON: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("label_map"), dict):
        return _dataset_meta(found["label_map"], found.get("segmentation_colors") or [], path)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise SourceError(f"class list {path}: holds {_kind(found)}; expected a JSON list of class names")
    return ClassList(tuple(name.strip() for name in found))


def _dataset_meta(names: dict[str, Any], colours: list[Any], path: Path) -> ClassList:
    """Datumaro's: label value to name, and the colours in the order of the map."""
    if not all(isinstance(name, str) for name in names.values()) or (colours and len(colours) != len(names)):
        raise SourceError(f"class list {path}: label_map and segmentation_colors do not name the same classes")
    rows = tuple(_colour([str(level) for level in colour], path) for colour in colours)
    return ClassList(tuple(name.strip() for name in names.values()), rows, tuple(_whole(key, path) for key in names))


def _kind(found: object) -> str:
    odd = next((item for item in found if not isinstance(item, str)), None) if isinstance(found, list) else None
    return f"the entry {odd!r}, which is no text" if odd is not None else type(found).__name__


def _cells(line: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([line]), [])]


def _colour(levels: Sequence[str], path: Path) -> Colour:
    if len(levels) != 3:
        raise SourceError(f"class list {path}: colour {list(levels)}; expected three levels, red, green and blue")
    red, green, blue = (_whole(level, path) for level in levels)
    return red, green, blue


def _whole(text: str, path: Path) -> int:
    if not text.strip().isdecimal():
        raise SourceError(f"class list {path}: {text!r} where a whole number was expected")
    return int(text)


def _problem(names: tuple[str, ...]) -> str:
    if not names or not all(names):
        return "expected at least one name, none empty"
    if twice := _twice(names):
        return f"class {twice[0]!r} is listed twice; every label value needs one name"
    return ""


def _twice(values: Sequence[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]
