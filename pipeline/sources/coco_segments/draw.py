"""COCO annotations of one picture as a label of classes.

Overlap has one fixed order: large segments first, so that small things lie on large ones (a tie: the lower id first).
Crowds belong to their class. Parts of one annotation are its union. In panoptic PNGs nothing overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.files.label_png import IGNORE
from pipeline.files.readable import opened
from pipeline.sources.coco_segments.annotations import Segment
from pipeline.sources.refs.masks import BadSegmentation, area_px, decode_mask, encode_mask
from shards.errors import Reject
from shards.geometry.view import Size


def drawn(
    segments: Sequence[Segment], size_px: Size, class_of: Mapping[int, int], outside: int, where: str
) -> np.ndarray:
    """uint8 [H, W].

    Args:
        class_of: by category id; a category that is not in it is IGNORE.
        outside: what pixels of no segment are.

    Raises:
        Reject: a segmentation that cannot be drawn; the message names its annotation.
    """
    masks = []
    for segment in segments:
        try:
            masks.append((segment, encode_mask(segment.segmentation, *size_px)))
        except BadSegmentation as error:
            raise Reject(f"{where}: annotation {segment.number}: {error}") from error
    label = np.full(size_px, outside, np.uint8)
    for segment, rle in sorted(masks, key=lambda found: (-area_px(found[1]), found[0].number)):
        label[decode_mask(rle)] = class_of.get(segment.category_id, IGNORE)
    return label


def of_panoptic(path: Path, segments: Sequence[Segment], size_px: Size, class_of: Mapping[int, int]) -> np.ndarray:
    """uint8 [H, W] of a panoptic PNG: id = red + 256 green + 65536 blue; id 0 is IGNORE.

    Raises Reject: no such file, damaged, of another size, or with an id that the annotations do not have.
    """
    try:
        with opened(path) as file, Image.open(file) as picture:
            if picture.mode not in ("RGB", "RGBA"):
                raise Reject(f"panoptic label {path} is of Pillow mode {picture.mode}; expected RGB")
            channels = np.asarray(picture.convert("RGB")).astype(np.int32)  # [H, W, 3]
    except Reject:
        raise
    except FileNotFoundError as error:
        raise Reject(f"panoptic label {path} does not exist") from error
    except Exception as error:  # on broken bytes, Pillow's readers raise whatever their parsing meets
        raise Reject(f"panoptic label {path} cannot be decoded: {error}") from error
    if channels.shape[:2] != size_px:
        raise Reject(f"panoptic label {path} is {channels.shape[:2]}; the annotations say {size_px} (height, width)")
    ids = channels @ np.array([1, 256, 65536], np.int32)  # [H, W]
    meaning = {segment.number: class_of.get(segment.category_id, IGNORE) for segment in segments} | {0: IGNORE}
    found, at = np.unique(ids, return_inverse=True)
    if strange := [int(number) for number in found if int(number) not in meaning]:
        raise Reject(f"panoptic label {path}: segment {strange[0]} is not in the annotations of its picture")
    return np.array([meaning[int(number)] for number in found], np.uint8)[at].reshape(size_px)
