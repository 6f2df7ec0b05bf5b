"""What an entry points to, and its mask: PNG files, run lengths, polygons or boxes, one, several or none.

Owns the forms and the units of coordinates. An empty list is no target, and so is a mask without an object pixel; a
polygon or a box that covers nothing is a mistake.

    mask       path of a picture in which 0 is not the object and one other value is, or a list of them
    rle        {size: [h, w], counts}, counts a list or COCO's packed text, or a list of them
    polygon    [x, y, ...], [[x, y], ...], or lists of these in any depth
    box        four numbers, or a list of boxes; a pixel belongs to it if its centre does
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.files.entries import checked, relative_name
from pipeline.files.readable import Readable, opened
from pipeline.sources.refs.masks import BadSegmentation, Rle, area_px, encode_mask, encode_pixels, union_of
from shards.errors import ConfigError, SourceError
from shards.geometry.view import Size

BOX_FORMS = ("", "xywh", "xyxy")
UNITS = {"pixels": 0, "fraction": 1, "per_mille": 1000}  # what a coordinate is at the picture's far edge; 0: its side
_SLACK = 0.02  # of a side, by which an annotator's coordinates may leave the picture


@dataclass(frozen=True)
class Coordinates:
    """How a file writes boxes and polygons."""

    box_form: str
    units: str

    def __post_init__(self) -> None:
        if self.box_form not in BOX_FORMS or self.units not in UNITS:
            raise ConfigError(
                f"source refer_file: box_form {self.box_form!r}, units {self.units!r}; expected box_form xywh or xyxy, "
                f"and units {', '.join(UNITS)}"
            )


@dataclass(frozen=True)
class Target:
    """The parts of a target, all of one kind; no parts: no target."""

    kind: str  # mask, rle, polygon or box
    parts: tuple[Any, ...]


def target_of(kind: str, value: Any, where: str) -> Target:
    """A value found under a key of a kind, taken apart. SourceError: it has another form."""
    if kind == "segmentation":
        rle = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))
        kind = "rle" if rle else "polygon"
    if kind == "mask":
        paths = value if isinstance(value, list) else [value]
        return Target(kind, tuple(relative_name(checked(p, str, f"{where}: mask"), f"{where}: mask") for p in paths))
    if kind == "rle":
        parts = value if isinstance(value, list) else [value]
        return Target(kind, tuple(checked(part, dict, f"{where}: run lengths") for part in parts))
    if kind == "box":
        boxes = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
        parts = checked(boxes, list, f"{where}: box")
        return Target(kind, tuple(_numbers(part, 4, f"{where}: box") for part in parts))
    return Target(kind, tuple(_polygons(value, f"{where}: polygon")))


def draw(target: Target, size_px: Size, masks: Path, coordinates: Coordinates) -> Rle:
    """The mask of everything a target means. BadSegmentation."""
    height, width = size_px
    if target.kind == "mask":
        parts = [
            encode_pixels(_read_mask(masks / name if isinstance(name, str) else name, size_px)) for name in target.parts
        ]
    elif target.kind == "rle":
        parts = [encode_mask(part, height, width) for part in target.parts]
    else:
        parts = []
        for part in target.parts:
            points = _in_pixels(part, size_px, coordinates, target.kind)
            parts.append(_box(points, size_px) if target.kind == "box" else encode_mask([points], height, width))
            if area_px(parts[-1]) == 0:
                raise BadSegmentation(f"{target.kind} {list(part)} covers no pixel of {height} x {width}")
    return union_of(parts, height, width)


def _numbers(value: Any, count: int, what: str) -> tuple[float, ...]:
    numbers = checked(value, list, what)
    if len(numbers) != count or any(type(n) not in (int, float) or not math.isfinite(n) for n in numbers):
        raise SourceError(f"{what} is {str(value)[:80]}; expected {count} finite numbers")
    return tuple(numbers)


def _polygons(value: Any, what: str, depth: int = 0) -> list[tuple[float, ...]]:
    """Flat polygons of lists in any depth."""
    parts = checked(value, list, what)
    if depth > 4:
        raise SourceError(f"{what} is {str(value)[:80]}; lists in lists in lists of what?")
    if not parts:
        if depth:
            raise SourceError(f"{what} holds an empty list; no target is an empty list alone")
        return []
    if not any(isinstance(part, list) for part in parts):
        if len(parts) < 6 or len(parts) % 2:
            raise SourceError(f"{what} is {str(value)[:80]}; expected x, y of at least 3 points")
        return [_numbers(parts, len(parts), what)]
    if all(isinstance(part, list) and len(part) == 2 and not any(isinstance(n, list) for n in part) for part in parts):
        return _polygons([number for point in parts for number in point], what, depth + 1)
    return [polygon for part in parts for polygon in _polygons(part, what, depth + 1)]


def _in_pixels(numbers: tuple[float, ...], size_px: Size, coordinates: Coordinates, kind: str) -> list[float]:
    """Coordinates in pixels; a box as x0, y0, x1, y1. BadSegmentation: they are not in the picture."""
    height, width = size_px
    whole = UNITS[coordinates.units]
    scales = (width / whole, height / whole) if whole else (1.0, 1.0)
    points = [number * scales[place % 2] for place, number in enumerate(numbers)]
    if kind == "box" and coordinates.box_form == "xywh":
        points = [points[0], points[1], points[0] + points[2], points[1] + points[3]]
    stated = f"{kind} {[round(n, 3) for n in numbers[:8]]}"
    told = f"units={coordinates.units}" + (f", box_form={coordinates.box_form}" if kind == "box" else "")
    if kind == "box" and not (points[0] < points[2] and points[1] < points[3]):
        raise BadSegmentation(f"{stated} has no width or no height; read with {told}")
    for values, side in ((points[::2], width), (points[1::2], height)):
        slack = max(_SLACK * side, 1.0)
        if min(values) < -slack or max(values) > side + slack:
            raise BadSegmentation(f"{stated} leaves the picture of {width} x {height} pixels; read with {told}")
    if not whole and max(map(abs, points)) <= 1.0 < min(size_px):
        raise BadSegmentation(f"{stated} lies inside the first pixel; are these fractions? read with {told}")
    return points


def _box(corners: list[float], size_px: Size) -> Rle:
    x0, y0, x1, y1 = (max(math.ceil(corner - 0.5), 0) for corner in corners)
    mask = np.zeros(size_px, bool)
    mask[y0:y1, x0:x1] = True
    return encode_pixels(mask)


def _read_mask(path: Readable, size_px: Size) -> np.ndarray:
    """bool [H, W] of a mask file."""
    try:
        with opened(path) as file, Image.open(file) as image:
            values = np.asarray(image)  # palette files give their indices
            colours = image.mode in ("RGB", "RGBA", "LA")
            alpha = image.mode in ("RGBA", "LA")
    except FileNotFoundError as error:
        raise BadSegmentation(f"mask {path} does not exist") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise BadSegmentation(f"mask {path} cannot be read: {error}") from error
    if colours:
        values = values[..., :-1] if alpha else values  # nothing is said by being opaque
        if (values != values[..., :1]).any():
            raise BadSegmentation(f"mask {path} is coloured; expected 0 and one other value in one channel")
        values = values[..., 0]
    if values.shape != size_px:
        raise BadSegmentation(f"mask {path} is {values.shape}, its picture {size_px} (height, width)")
    found = np.unique(values)
    if len(found[found != 0]) > 1:
        raise BadSegmentation(
            f"mask {path} holds the values {', '.join(map(str, found[:6].tolist()))}{', ...' if len(found) > 6 else ''}"
            "; expected 0 and one other. Several objects need a file each; a lossy or smoothed file is no mask"
        )
    return values != 0
