"""What a prediction about a stored record is drawn on: its picture where that is at hand, else what its latents show.

Owns the choice. A set holds no pictures; a latent in false colours, laid where its view was cut, shows what is where.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.files.photos import read_picture
from pipeline.set_page.drawing import false_colours
from pipeline.set_page.survey import LATENT
from shards.errors import ConfigError, ContractError
from shards.geometry.view import View, recorded_views
from shards.reading.reader import StoredRecord

_PAPER = 235  # grey, where nothing is shown


def canvas_of(folder: str | Path) -> Callable[[StoredRecord], np.ndarray]:
    """Record -> uint8 [H, W, 3], of its picture's size.

    Args:
        folder: in which the `file_name` of every record is found; empty: there is none.

    Raises:
        ConfigError: no such folder.
    """
    if folder and not Path(folder).is_dir():
        raise ConfigError(f"{folder} is no folder of pictures. Name one, or leave it out: latents are shown instead.")
    return lambda record: canvas(record, folder)


def canvas(record: StoredRecord, folder: str | Path = "") -> np.ndarray:
    """The same for one record."""
    picture = _picture(record, Path(folder).resolve()) if folder else None
    height, width = int(record.meta["height"]), int(record.meta["width"])
    return picture if picture is not None and picture.shape[:2] == (height, width) else _latents(record, height, width)


def _picture(record: StoredRecord, folder: Path) -> np.ndarray | None:
    name = str(record.meta.get("file_name", ""))
    path = (folder / name).resolve()
    if not name or not path.is_relative_to(folder):
        return None
    try:
        return read_picture(path)
    except (ContractError, OSError):
        return None


def _latents(record: StoredRecord, height: int, width: int) -> np.ndarray:
    shown = np.full((height, width, 3), _PAPER, np.uint8)
    views = recorded_views(record)
    for number, view in enumerate(views):
        x0, y0, x1, y1 = _seen_px(view)
        part = false_colours(_unpadded(record.array(LATENT, number, 1)[0], view))
        part = part[:, ::-1] if view.flip else part
        resized = Image.fromarray(np.ascontiguousarray(part)).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
        shown[y0:y1, x0:x1] = np.asarray(resized)
    return shown


def _seen_px(view: View) -> tuple[int, int, int, int]:
    """What a view sees of its picture, a box (x0, y0, x1, y1) in the picture's pixels, of one pixel at least."""
    left, top, right, bottom = view.box_px
    (resized_h, resized_w), (x0, y0, x1, y1) = view.resized_px, view.window_px
    across, down = (right - left) / resized_w, (bottom - top) / resized_h
    seen_left, seen_top = left + int(x0 * across), top + int(y0 * down)
    return seen_left, seen_top, max(left + round(x1 * across), seen_left + 1), max(top + round(y1 * down), seen_top + 1)


def _unpadded(latent: np.ndarray, view: View) -> np.ndarray:
    """The part of a latent [C, h, w] that shows picture and no padding."""
    h, w = latent.shape[1:]
    (top, left), (bottom, right) = view.pad_before_px, view.pad_px
    size_h, size_w = view.size_px
    rows = slice(top * h // size_h, max(h - bottom * h // size_h, 1))
    return latent[:, rows, slice(left * w // size_w, max(w - right * w // size_w, 1))]
