"""Reads the folder form of NYUv2 that depth training uses: JPEG and 16-bit PNG pairs named by a list file.

Two published list formats, two or three columns, with or without a leading slash (`data_formats.md` 3.2):
    /kitchen/rgb_00000.jpg /kitchen/sync_depth_00000.png                VPD
    kitchen/rgb_00000.jpg kitchen/sync_depth_00000.png 518.8579         BTS, with the focal length in pixels
Paths are relative to `nyu_depth_v2/sync` for train and to `nyu_depth_v2/official_splits/test` for test.

Owns lists and pairs. Depth is uint16 millimetres, 0 = no measurement, and its bytes are passed on as they are.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from shards.errors import Reject, SourceError

FOLDERS = {"train": "nyu_depth_v2/sync", "test": "nyu_depth_v2/official_splits/test"}
LISTS = {"train": "filenames/nyudepthv2/train_list.txt", "test": "filenames/nyudepthv2/test_list.txt"}
_DECODING = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Pair:
    """One line of a list."""

    line: int
    image: PurePosixPath  # relative to the split's folder
    depth: PurePosixPath
    focal_px: float | None

    @property
    def key(self) -> str:
        """kitchen/rgb_00045.jpg -> kitchen-rgb_00045"""
        return "-".join(self.image.with_suffix("").parts)


def read_list(path: Path) -> list[Pair]:
    """The pairs of a list in either format, in its order. SourceError names the line that is in neither."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: cannot be read ({error}); expected a list of image and depth paths. VPD ships it as "
            "dataset/filenames/nyudepthv2, BTS as train_test_inputs; name another place with train_list and test_list"
        ) from error
    pairs = [_pair(path, number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise SourceError(f"{path}: is empty; expected a line for every image")
    return pairs


def load_pair(folder: Path, pair: Pair, where: str) -> tuple[np.ndarray, bytes]:
    """(image uint8 [H, W, 3], the bytes of the depth PNG), both decoded once to be sure that they can be.

    Raises Reject, with `where` (list and line) and the reason: a file is missing, damaged, of another kind, the two
    differ in size, or no pixel has a measurement.
    """
    image_path, depth_path = folder / pair.image, folder / pair.depth
    try:
        depth_png = depth_path.read_bytes()
        with Image.open(image_path) as photo, Image.open(io.BytesIO(depth_png)) as depth:
            # Opening reads headers only. Sizes are compared first, so a wrong file costs no decoding.
            if photo.size != depth.size:
                raise Reject(
                    f"{where}: {depth_path} is {depth.height} x {depth.width}, its image {image_path} is "
                    f"{photo.height} x {photo.width}; they must have the same size"
                )
            if depth.format != "PNG" or depth.mode not in ("I;16", "I"):
                raise Reject(
                    f"{where}: {depth_path} is {depth.format} of mode {depth.mode}, expected a 16-bit grey PNG in "
                    "millimetres"
                )
            if not np.asarray(depth).any():
                raise Reject(f"{where}: {depth_path} holds no measurement, all its pixels are 0")
            return np.array(photo.convert("RGB")), depth_png
    except FileNotFoundError as error:
        raise Reject(f"{where}: {error.filename} does not exist") from error
    except _DECODING as error:
        raise Reject(f"{where}: {image_path} or {depth_path} cannot be decoded: {error}") from error


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
