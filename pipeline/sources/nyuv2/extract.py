"""Makes the folder form of NYUv2's official splits out of the labelled .mat, as the published script does by hand.

Owns that script's conventions (docs/methods/data_layouts.md#extraction): folders by scene type; file numbers counted
from 0; depth is raw depth times 1000, cut to whole millimetres, as 16-bit PNG; pictures are JPEG of quality 95 in which
everything outside rows 7..474 and columns 7..632 is black, which hides the white frame of the photographs.

JPEGs are written by Pillow at the published quality and chroma subsampling; another encoder's bytes may differ.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.sources.nyuv2.folders import FOLDERS, LISTS
from pipeline.sources.nyuv2.mat import FrameNames, LabeledMat, black_border, read_splits
from shards.storage.atomic import write_atomic

JPEG_QUALITY, JPEG_420 = 95, 2


def extract_split(
    mat: Path,
    splits: Path,
    out: Path,
    split: str = "test",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes `<out>/nyu_depth_v2/official_splits/<split>/<room>/{rgb,sync_depth}_%05d.*`; returns how many frames.

    For the test split also the list of them, in VPD's format and the published place, unless there is one. Files are
    replaced whole, so a killed run can simply be started again. Raises SourceError for files that are not the dataset's
    and Reject for a frame that cannot be used: a split of another size would not be the official one.
    """
    file = LabeledMat(mat, "raw")
    numbers = read_splits(splits, len(file))[split]
    names = file.names()
    folder = out / Path(FOLDERS["test"]).parent / split
    lines = []
    for done, number in enumerate(numbers, 1):
        image, depth_m = file.frame(number)
        jpg, png = (f"{names[number].room}/{name(number)}" for name in (FrameNames.jpg, FrameNames.png))
        (folder / jpg).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / jpg, _jpeg(black_border(image)))
        write_atomic(folder / png, _png_mm(depth_m))
        lines.append(f"/{jpg} /{png}\n")
        progress(done, len(numbers))
    listing = out / LISTS["test"]
    if split == "test" and not listing.exists():
        listing.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(listing, "".join(lines).encode())
    return len(numbers)


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=JPEG_420)
    return buffer.getvalue()


def _png_mm(depth_m: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((depth_m * np.float32(1000)).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
