"""LabelMe's JSON files: shapes of one picture, drawn as a label.

Owns reading, drawing and their rejects. Shapes with an area are drawn in the order of the file, later ones on top, as
LabelMe's own export does, polygons with their outline; what has no area (lines, points) is a Reject, since its width
would be invented here. Pixels of no shape are the class `_background_` or `background` if there is one, else ignored.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from PIL import Image, ImageDraw

from pipeline.files.foreign import of_json, said
from pipeline.files.label_png import IGNORE
from pipeline.files.photos import MAX_PIXELS
from pipeline.files.readable import Readable, contents
from shards.errors import Reject

BACKGROUND = ("_background_", "background")
_AREAS = ("polygon", "rectangle", "circle", "oriented_rectangle", "mask")
_FEWEST = {"polygon": 3, "rectangle": 2, "circle": 2, "oriented_rectangle": 4, "mask": 2}

Point = tuple[float, float]


@dataclass(frozen=True)
class LabelmeShapes:
    """Reads LabelMe's files: `shapes(path)` is uint8 [H, W], classes from 0 and IGNORE.

    Args:
        names: of the classes.
        ignored: labels that are no class; their shapes are IGNORE.
    """

    names: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def __call__(self, path: Readable) -> np.ndarray:
        """Reject: no such file, not LabelMe's, a label that is no class, or a shape without an area."""
        data = _read(path)
        height, width = _size(data, path)
        outside = next((self.names.index(name) for name in BACKGROUND if name in self.names), IGNORE)
        label = Image.new("L", (width, height), outside)
        for number, shape in enumerate(data["shapes"], 1):
            where = f"label {path}: shape {number}"
            if not isinstance(shape, dict):
                raise Reject(f"{where} is {type(shape).__name__}; expected label, points and shape_type")
            _draw(label, shape, self._value(shape.get("label"), where), where)
        return np.array(label)

    def _value(self, name: Any, where: str) -> int:
        if name in self.names:
            return self.names.index(name)
        if name in self.ignored:
            return IGNORE
        raise Reject(
            f"{where} is labelled {name!r}, which is none of the classes {', '.join(self.names[:12])}. Add it to "
            "classes, or to classes and ignored_classes"
        )


def _read(path: Readable) -> dict[str, Any]:
    try:
        data = orjson.loads(contents(path))
    except FileNotFoundError as error:
        raise Reject(f"label {path} does not exist") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise Reject(f"label {path} cannot be read as JSON: {error}") from error
    if foreign := of_json(data):
        raise Reject(said(foreign, f"label {path}"))
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
        raise Reject(f"label {path} is not one of LabelMe's: it has no list of shapes")
    return data


def _size(data: dict[str, Any], path: Readable) -> tuple[int, int]:
    height, width = data.get("imageHeight"), data.get("imageWidth")
    if type(height) is int and type(width) is int and min(height, width) > 0 and height * width <= MAX_PIXELS:
        return height, width
    raise Reject(f"label {path}: imageHeight and imageWidth are {height!r} and {width!r}; open and save it in LabelMe")


def _draw(label: Image.Image, shape: dict[str, Any], value: int, where: str) -> None:
    kind = shape.get("shape_type") or "polygon"  # files of old versions say nothing
    if kind not in _AREAS:
        raise Reject(f"{where} is a {kind}, which has no area; make it one of {', '.join(_AREAS)}, or remove it")
    points = _points(shape.get("points"), where)
    if len(points) < _FEWEST[kind]:
        raise Reject(f"{where} is a {kind} of {len(points)} points; expected {_FEWEST[kind]} or more")
    if kind == "mask":
        _paste(label, shape.get("mask"), points, value, where)
        return
    draw = ImageDraw.Draw(label)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points[:2]
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=value, outline=value)
    elif kind == "circle":
        (x, y), edge = points[:2]
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)
    else:
        draw.polygon(points, fill=value, outline=value)


def _points(points: Any, where: str) -> list[Point]:
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        raise Reject(f"{where}: points are no list of x, y pairs of finite numbers")
    return [(float(x), float(y)) for x, y in points]


def _is_point(point: Any) -> bool:
    # Drawing takes time and memory by the outline's length, so a stray exponent must not reach it.
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e6 for value in point)
    )


def _paste(label: Image.Image, payload: Any, points: Sequence[Point], value: int, where: str) -> None:
    """A mask: a PNG in text, whose top-left corner is the first point."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(payload, validate=True))) as picture:
            mask = picture.convert("L").point([0] + [255] * 255)
    except (TypeError, binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Reject(f"{where}: its mask cannot be decoded: {error}") from error
    x, y = (round(coordinate) for coordinate in points[0])
    label.paste(value, (x, y, x + mask.width, y + mask.height), mask)
