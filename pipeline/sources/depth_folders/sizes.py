"""A picture and its depth at one size, as declared: as they are, or one of them resized to the other.

Owns the three ways and what is refused. Nothing is resized that is of another shape: it would be of another view.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.files.depth_values import read_hdf5
from pipeline.files.photos import Orientation, Partner, read_picture
from pipeline.files.readable import Readable
from pipeline.rendering.geometry import resized
from shards.errors import Reject

RESIZE = ("nothing", "picture", "depth")
RATIO = 0.02  # by which the shapes of a picture and its depth may differ and still be of one view


@dataclass(frozen=True)
class Layout:
    """What is read from where, besides the folders; see `source.build`."""

    resize: str
    key: str
    image_key: str
    orientation: Orientation


def of_one_size(
    image_path: Readable, depth_path: Readable, depth_m: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """(picture uint8 [H, W, 3], depth float32 [H, W]).

    Args:
        depth_m: [h, w], as read.

    Raises:
        Reject: the picture cannot be read, or the two cannot be brought to one size.
    """
    size_px = (depth_m.shape[0], depth_m.shape[1])
    if layout.image_key and isinstance(image_path, Path):
        image = _picture_of(read_hdf5(image_path, layout.image_key), image_path)
    elif layout.resize == "nothing":
        partner = Partner(f"its depth {depth_path} is", size_px, layout.orientation)
        return read_picture(image_path, partner=partner), depth_m
    else:
        image = read_picture(image_path)
    if image.shape[:2] == size_px:
        return image, depth_m
    (h, w), (height, width) = image.shape[:2], size_px
    if layout.resize == "nothing" or abs(w * height / (h * width) - 1) > RATIO:
        raise Reject(
            f"picture {image_path} is {h} x {w}, its depth {depth_path} is {height} x {width} (height x width); "
            + ("they must be of one size" if layout.resize == "nothing" else "of another shape, so of another view")
        )
    if layout.resize == "picture":
        return np.asarray(resized(Image.fromarray(image), size_px, Image.Resampling.BILINEAR)), depth_m
    return image, np.asarray(resized(Image.fromarray(depth_m), (h, w), Image.Resampling.NEAREST))


def _picture_of(pixels: np.ndarray, path: Path) -> np.ndarray:
    """A picture of an HDF5 file, channels first or last, as uint8 [H, W, 3]."""
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise Reject(f"picture of {path} is {pixels.dtype} {list(pixels.shape)}; expected uint8 [3, H, W] or [H, W, 3]")
    return np.ascontiguousarray(pixels)
