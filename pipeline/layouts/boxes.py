"""Coordinates of boxes and polygons: which form and unit the pictures leave possible.

Owns the readings and their elimination: a box that leaves its picture, or has no area, is not written so. Where both
forms stay possible nothing is chosen, since a wrong one would be learnt without a complaint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.layouts.guess import Option
from pipeline.sources.refer_file.targets import Coordinates
from shards.errors import SourceError
from shards.geometry.view import Size

_SLACK_PX = 2.0  # by which a rounded corner may leave its picture


def coordinates_of(
    path: Path,
    entries: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str],
    sizes: Mapping[str, Size],
    given: Mapping[str, Any],
) -> dict[str, Option]:
    """The options `box_form` and `units` of `refer_file`, where targets need them.

    Args:
        keys: of the entries by what they hold.
        sizes: (h, w) by name of the picture.

    Raises:
        ConfigError: another form or unit than those that there are was said.
        SourceError: boxes that could be written in both forms, or in none.
    """
    kind = next((kind for kind in ("mask", "rle", "segmentation", "polygon", "box") if keys[kind]), "")
    if kind not in ("segmentation", "polygon", "box"):
        return {}
    found = [
        (numbers, sizes[entry[keys["image"]]])
        for entry in entries
        if entry.get(keys["image"]) in sizes
        for numbers in _rows(entry.get(keys[kind]))
    ]
    if not found:
        return {}
    Coordinates(str(given.get("box_form", "")), str(given.get("units", "pixels")))  # refuses words that are none
    units = str(given.get("units", "")) or _units(path, found)
    options = {"units": Option(units, "as the numbers and the sizes of the pictures leave it")}
    if kind != "box":
        return options if units != "pixels" else {}
    if "box_form" in given:
        return options | {"box_form": Option(given["box_form"], "as said")}
    forms = [form for form in ("xywh", "xyxy") if all(_fits(box, size, form, units) for box, size in found)]
    if len(forms) != 1:
        could = "could be both" if forms else "are neither"
        raise SourceError(
            f"{path}: its {len(found)} boxes, such as {list(found[0][0])}, {could} xywh (corner and size) and xyxy "
            f"(two corners), read as {units}. Say source.box_form=xywh or source.box_form=xyxy, and "
            "source.units if needed"
        )
    other = "xyxy" if forms[0] == "xywh" else "xywh"
    why = f"all {len(found)} boxes lie in their pictures so; as {other} some do not"
    return options | {"box_form": Option(forms[0], why)}


def _units(path: Path, found: Sequence[tuple[Sequence[float], Size]]) -> str:
    """SourceError: numbers up to 1000 in pictures that are all larger, which are pixels or parts in a thousand."""
    most = max(max(map(abs, numbers)) for numbers, _ in found)
    if most <= 1:
        return "fraction"
    outside = any(max(numbers) > max(size) + _SLACK_PX for numbers, size in found)
    if not outside and most <= 1000 and min(max(size) for _, size in found) > 1000:
        raise SourceError(
            f"{path}: its coordinates, such as {list(found[0][0])}, are at most {most:g}, and its pictures are larger: "
            "they could be pixels or parts in a thousand. Say source.units=pixels or source.units=per_mille"
        )
    return "per_mille" if outside and most <= 1000 else "pixels"


def _fits(box: Sequence[float], size_px: Size, form: str, units: str) -> bool:
    if len(box) != 4:
        return False
    height, width = {"pixels": size_px, "fraction": (1, 1), "per_mille": (1000, 1000)}[units]
    slack = _SLACK_PX if units == "pixels" else _SLACK_PX * height / min(size_px)
    x0, y0, x1, y1 = box
    if form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    return x0 < x1 <= width + slack and y0 < y1 <= height + slack and min(x0, y0) >= -slack


def _rows(value: Any) -> Iterator[list[float]]:
    """The lists of numbers inside a value, however deep; points of two numbers are rows, too."""
    if not isinstance(value, list) or not value:
        return
    if all(isinstance(number, int | float) and not isinstance(number, bool) for number in value):
        yield value
        return
    for part in value:
        yield from _rows(part)
