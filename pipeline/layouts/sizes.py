"""Sizes of pictures, from their headers."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pipeline.files.readable import opened
from pipeline.layouts.names import Names
from shards.geometry.view import Size

LOOKED_AT = 50


def size_of(path: Path) -> Size | None:
    """(h, w) as stored; None: no picture."""
    try:
        with opened(path) as file, Image.open(file) as picture:
            return picture.height, picture.width
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def size_of_pictures(folder: Path, names: Names) -> Size:
    """The middle one of some pictures by their area; (0, 0) where none can be read."""
    paths = [folder / name for stem in names.stems[:LOOKED_AT] for name in names.images_of(stem)]
    return middle([size for path in paths if path.is_file() and (size := size_of(path))])


def middle(sizes: list[Size]) -> Size:
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    return ordered[len(ordered) // 2] if ordered else (0, 0)
