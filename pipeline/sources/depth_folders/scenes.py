"""The scene class of every picture, from a CSV file of a user's."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from shards.errors import SourceError, did_you_mean

COLUMNS = ("file", "scene")


def scene_of_pictures(path: Path, names: Sequence[str]) -> Mapping[str, int]:
    """Row in the class list by stem of the picture. SourceError: no such file or columns, or a scene of no class."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as a list of scenes: {error}") from error
    rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    header = [(column or "").strip() for column in (rows[0] if rows else {})]
    if not set(COLUMNS) <= set(header):
        raise SourceError(f"{path}: its header is {header}; expected the columns {' and '.join(COLUMNS)}")
    found: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        named = {(column or "").strip(): value.strip() for column, value in row.items() if isinstance(value, str)}
        scene = named.get("scene", "")
        if scene not in names:
            hint = did_you_mean(scene, names)
            raise SourceError(f"{path}, line {number}: scene {scene!r} is none of the classes.{hint}")
        file = PurePosixPath(named.get("file", ""))
        found[(file.with_suffix("") if file.name else file).as_posix()] = names.index(scene)
    return found
