"""COCO segmentations: polygons and run lengths in, compressed RLE out.

Owns the forms a COCO `segmentation` comes in (polygons; run lengths as a list or packed; a list of run lengths) and the
two rules that join the parts of one object. Leaves reading the annotation files to the sources. Rasterising is
pycocotools'; everything is checked before its C code sees it, because run lengths that do not fit the image make it
write out of bounds.

Rules (docs/methods/refer.md#masks):
  union        a pixel belongs to the object where any part covers it
  exactly_one  the published readers (refer.py, LAVT, VPD): parts are counted and only a count of 1 is foreground, so a
               pixel covered by two parts becomes background
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import pycocotools.mask

coco: Any = pycocotools.mask  # its stubs know neither lists of parts nor counts as bytes
MASK_RULES = ("union", "exactly_one")


class Rle(TypedDict):
    """COCO's compressed run lengths: column-major, `size` = [height, width]."""

    size: list[int]
    counts: str


class BadSegmentation(ValueError):
    """The segmentation cannot be drawn; the message says why, the caller says whose it is."""


def encode_mask(segmentation: Any, height: int, width: int, rule: str = "union") -> Rle:
    """Segmentation as found in instances.json -> RLE of one mask [height, width]. Raises BadSegmentation."""
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, dict) for part in segmentation):
        parts = [_run_length_part(part, height, width) for part in segmentation]  # ReferIt's form
    else:
        parts = _polygon_parts(segmentation, height, width)
    if parts is None:
        parts = [_run_length_part(segmentation, height, width)]
    if rule == "union" or len(parts) == 1:
        rle = coco.merge(parts, intersect=False)
    else:
        cover = coco.decode(parts).sum(axis=2)  # [H, W]
        return encode_pixels(cover == 1)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def encode_pixels(mask: np.ndarray) -> Rle:
    """bool [H, W] -> RLE."""
    counts = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}


def union_of(rles: Sequence[Rle], height: int, width: int) -> Rle:
    """The mask of all pixels that any of the masks covers; of no mask, the empty one."""
    if not rles:
        return encode_pixels(np.zeros((height, width), bool))
    packed = [{"size": rle["size"], "counts": rle["counts"].encode("ascii")} for rle in rles]
    return {"size": [height, width], "counts": coco.merge(packed, intersect=False)["counts"].decode("ascii")}


def decode_mask(rle: Rle) -> np.ndarray:
    """bool [H, W]"""
    return coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}).astype(bool)


def area_px(rle: Rle) -> int:
    return int(coco.area({"size": rle["size"], "counts": rle["counts"].encode("ascii")}))


def _polygon_parts(segmentation: Any, height: int, width: int) -> list[Any] | None:
    if not isinstance(segmentation, list):
        return None
    if not segmentation:
        raise BadSegmentation("the polygon list is empty")
    for index, polygon in enumerate(segmentation):
        # pycocotools takes a first polygon of four numbers for a box, and then all others too.
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            found = f"{len(polygon)} numbers" if isinstance(polygon, list) else type(polygon).__name__
            raise BadSegmentation(f"polygon {index} is {found}; expected x, y pairs of at least 3 points")
        for value in polygon:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise BadSegmentation(f"polygon {index} holds {value!r}; expected finite numbers")
        # Drawing time and memory grow with the outline's length, so a stray exponent must not reach it.
        if max(map(abs, polygon)) > 10 * max(height, width):
            raise BadSegmentation(f"polygon {index} reaches {max(map(abs, polygon))}; the image is {height} x {width}")
    return coco.frPyObjects(segmentation, height, width)


def _run_length_part(segmentation: Any, height: int, width: int) -> Any:
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise BadSegmentation(
            f"segmentation is {type(segmentation).__name__}; expected a list of polygons or a dict with size and counts"
        )
    if segmentation["size"] != [height, width]:
        raise BadSegmentation(f"run lengths are for size {segmentation['size']}; the image is {[height, width]}")
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        counts = _unpack_counts(counts.encode("latin1", "replace") if isinstance(counts, str) else counts)
    if not isinstance(counts, list):
        raise BadSegmentation(f"run lengths are {type(counts).__name__}; expected a list of int, or compressed text")
    if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != height * width:
        raise BadSegmentation(f"run lengths do not add up to {height} x {width} = {height * width} pixels")
    return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _unpack_counts(packed: bytes) -> list[int]:
    """COCO's compressed form: 5 bits a character (lowest first, bit 5 = more follows, sign in bit 4 of the last one),
    offset by 48; from the fourth run on the difference to the run two before it is stored."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in packed:
        digit = character - 48
        if not 0 <= digit < 64:
            raise BadSegmentation(f"compressed run lengths hold the byte {character}; expected 48 to 111")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise BadSegmentation("compressed run lengths end in the middle of a number")
    return runs
