"""What label files hold, looked at: values, colours, or names of shapes, by number of pixels and files.

Owns the look and its limit. What follows for the options is `values`' and `colours`'. Files that cannot be read as
labels are counted, and end the look if all are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from pipeline.files.foreign import of_json, said
from pipeline.files.label_coding import read_values
from pipeline.files.readable import contents
from shards.errors import Reject, SourceError

LOOKED_AT = 2000  # files, at equal distances: a minute on one core
_MANY_COLOURS = 256


@dataclass
class Held:
    """What label files hold."""

    form: str  # index, colour or labelme
    pixels: Counter[int] = field(default_factory=Counter)  # of every value, or packed colour
    files: Counter[int] = field(default_factory=Counter)  # that have it
    shapes: Counter[str] = field(default_factory=Counter)  # names of LabelMe's
    looked: int = 0
    of: int = 0
    rejects: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[int]:
        return sorted(self.pixels)

    def said(self) -> str:
        """For a person."""
        several = f"{self.looked} of {self.of} labels" if self.looked < self.of else f"all {self.of} labels"
        return f"{several} looked at" + (f", {len(self.rejects)} cannot be read" if self.rejects else "")


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Some of them, at equal distances."""
    step = max(len(paths) / count, 1.0)
    return [paths[int(place * step)] for place in range(min(count, len(paths)))]


def look_at(paths: Sequence[Path], form: str = "") -> Held:
    """What the files hold.

    Args:
        form: index, colour, red or ade20k_full (see `pipeline.files.label_coding`); empty: as the first file can be
            read.

    Raises:
        SourceError: not one can be read.
    """
    chosen = spread(paths, LOOKED_AT)
    if chosen and chosen[0].suffix.lower() == ".json":
        return _shapes(chosen, len(paths))
    held = Held(form or _form(chosen), of=len(paths))
    for path in chosen:
        try:
            values, counts = np.unique(read_values(path, held.form), return_counts=True)
        except Reject as reject:
            held.rejects.append(str(reject))
            continue
        held.looked += 1
        held.pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        held.files.update(values.tolist())
        if held.form == "colour" and len(held.pixels) > _MANY_COLOURS:
            break  # no list of colours could be that long
    if not held.looked:
        raise SourceError(f"none of {len(chosen)} labels can be read. The first: {held.rejects[0]}")
    return held


def _form(paths: Sequence[Path]) -> str:
    """Colour if some file is in colour and cannot be an index."""
    for path in spread(paths, 8):
        try:
            read_values(path, "index")
        except Reject as reject:
            if "is a coloured picture" in str(reject):
                return "colour"
    return "index"


def _shapes(paths: Sequence[Path], of: int) -> Held:
    held = Held("labelme", of=of)
    for path in paths:
        try:
            data = orjson.loads(contents(path))
        except (OSError, orjson.JSONDecodeError) as error:
            held.rejects.append(f"label {path} cannot be read as JSON: {error}")
            continue
        if foreign := of_json(data):
            raise SourceError(said(foreign, path))
        shapes = data.get("shapes") if isinstance(data, dict) else None
        if not isinstance(shapes, list):
            held.rejects.append(f"label {path} is not one of LabelMe's: it has no list of shapes")
            continue
        held.looked += 1
        names = [shape.get("label") for shape in shapes if isinstance(shape, dict)]
        held.shapes.update(name for name in names if isinstance(name, str) and name.strip())
    if not held.looked:
        raise SourceError(f"none of {len(paths)} labels can be read. The first: {held.rejects[0]}")
    return held
