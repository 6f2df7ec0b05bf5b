"""Masks as they are stored: COCO run lengths of the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Binary mask uint8 `[H, W]` of a COCO RLE `{"size": [H, W], "counts": str}`."""
    return np.ascontiguousarray(coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}))
