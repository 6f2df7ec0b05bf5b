"""Pictures and 16-bit depth PNGs in pairs, named by a list file: the form in which depth data is passed around.

Published lists have two or three columns, with or without a leading slash (docs/methods/data_layouts.md#depth-lists):
    /kitchen/rgb_00000.jpg /kitchen/sync_depth_00000.png                VPD, Meta Prompts
    kitchen/rgb_00000.jpg kitchen/sync_depth_00000.png 518.8579         BTS, with the focal length in pixels
    2011_09_26/.../0000000069.png None 721.5377                         BTS, KITTI: a picture without ground truth

Owns lists and pairs. Where their paths start, and what a pair's key is, is said by `nyuv2_folders` and `kitti`. The
bytes of a depth PNG are passed on as they are, 0 = no measurement.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.files.photos import Partner, load_picture
from pipeline.files.readable import contents
from shards.errors import Reject, SourceError
from shards.geometry.view import Size

_DECODING = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Pair:
    """One line of a list."""

    line: int
    image: PurePosixPath  # without a leading slash
    depth: PurePosixPath
    focal_px: float | None


@dataclass(frozen=True)
class PairList:
    """A list, read."""

    pairs: Mapping[str, Pair]  # by key, in the list's order
    without_depth: int  # lines that name no depth, and are left out


def read_list(path: Path, key_of: Callable[[PurePosixPath], str], advice: str, no_depth: str = "") -> PairList:
    """The pairs of a list in any of the formats.

    Args:
        path: the list.
        key_of: image path -> key of the record.
        advice: where such a list comes from, for the message if there is none.
        no_depth: word in the depth column of a picture without ground truth.

    Raises:
        SourceError: it cannot be read, is empty, has a line in no format (the message names it), or two with one key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: cannot be read ({error}); expected a list of image and depth paths. {advice}"
        ) from error
    found = [_pair(path, number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    pairs = [pair for pair in found if not no_depth or pair.depth.as_posix() != no_depth]
    if not pairs:
        without = f"names no depth in any of its {len(found)} lines" if found else "is empty"
        raise SourceError(f"{path}: {without}; expected a line for every image")
    index: dict[str, Pair] = {}
    for pair in pairs:
        other = index.setdefault(key_of(pair.image), pair)
        if other is not pair:
            raise SourceError(f"{path}: lines {other.line} and {pair.line} both name {pair.image}; name it once")
    return PairList(index, len(found) - len(pairs))


def load_pair(image_path: Path, depth_path: Path, where: str, unit: str) -> tuple[Image.Image, bytes]:
    """(picture of mode RGB, the bytes of the depth PNG), both decoded once to be sure that they can be.

    `where` (list and line) and `unit`, of the PNG, are for messages.

    Raises Reject: a file is missing, damaged, of another kind, the two differ in size, or no pixel has a measurement.
    """
    depth_png, size_px = _depth_png(depth_path, where, unit)
    partner = Partner(f"its depth {depth_path} is", size_px)
    return load_picture(image_path, f"{where}: picture {image_path}", partner), depth_png


def _depth_png(path: Path, where: str, unit: str) -> tuple[bytes, Size]:
    """(the file, its (h, w)), decoded once."""
    try:
        payload = contents(path)
        with Image.open(io.BytesIO(payload)) as depth:
            if depth.format != "PNG" or depth.mode not in ("I;16", "I"):
                raise Reject(
                    f"{where}: {path} is {depth.format} of mode {depth.mode}, expected a 16-bit grey PNG in {unit}"
                )
            if not np.asarray(depth).any():
                raise Reject(f"{where}: {path} holds no measurement, all its pixels are 0")
            return payload, (depth.height, depth.width)
    except FileNotFoundError as error:
        raise Reject(f"{where}: {path} does not exist") from error
    except _DECODING as error:
        raise Reject(f"{where}: {path} cannot be decoded: {error}") from error


def _pair(path: Path, number: int, words: list[str]) -> Pair:
    try:
        if len(words) not in (2, 3):
            raise ValueError(f"{len(words)} columns")
        image, depth = (PurePosixPath(word.lstrip("/")) for word in words[:2])
        if ".." in (*image.parts, *depth.parts):
            raise ValueError("a path that leaves its folder")
        return Pair(number, image, depth, float(words[2]) if len(words) == 3 else None)
    except ValueError as error:
        raise SourceError(
            f"{path}: line {number} is {' '.join(words)!r}: {error}; expected 'IMAGE DEPTH' or 'IMAGE DEPTH FOCAL'"
        ) from error
