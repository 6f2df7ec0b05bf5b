"""Reads a photograph whose size an annotation file states: RefCOCO's and COCO's.

Owns the decoding and its rejects. Pairs of a picture and a label of its size are `pairs.labels`' and `pairs.depths`'.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from shards.errors import Reject
from shards.geometry.view import Size


def read_photo(path: Path, size_px: Size, image_id: int) -> np.ndarray:
    """uint8 [H, W, 3], RGB.

    Args:
        size_px: (h, w) as the annotations say.
        image_id: for messages.

    Raises:
        Reject: the file is missing, damaged, or of another size.
    """
    try:
        with Image.open(path) as photo:
            # Opening reads the header only. The size is compared first, so a wrong file costs no decoding.
            if (photo.height, photo.width) != size_px:
                raise Reject(
                    f"image {image_id}: {path} is {photo.height} x {photo.width}, the annotations say {size_px[0]} x "
                    f"{size_px[1]}"
                )
            return np.array(photo.convert("RGB"))
    except FileNotFoundError as error:
        raise Reject(f"image {image_id}: {path} does not exist") from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Reject(f"image {image_id}: {path} cannot be decoded: {error}") from error
