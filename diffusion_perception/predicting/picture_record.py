"""A picture that belongs to no set, as tasks read a record of one.

Owns what the meta of such a record holds, and what a caller may give: a picture's file or its levels, a box, a class.
Reading files is `pipeline.files.photos`', encoding `diffusion_perception.predicting.predictor`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.predicting.video_files import Frame
from shards.errors import ConfigError, Reject, did_you_mean
from shards.geometry.view import View

if TYPE_CHECKING:
    from pipeline.views import ViewPlan

Picture = np.ndarray | str | Path | Frame  # RGB as uint8 [H, W, 3], a picture's file or URL, or a video's frame


@dataclass(frozen=True)
class Question:
    """What is asked of every picture.

    Args:
        sentences: for tasks that take sentences, one prediction each.
        class_name: for tasks conditioned on a class; empty is the mean of all classes.
        boxes: for pose, (x, y, width, height) of each person in pixels; empty: the picture is one person's box.
    """

    sentences: tuple[str, ...] = ()
    class_name: str = ""
    boxes: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class EncodedPicture:
    """A picture encoded on the spot."""

    key: str
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def array(self, field: str, first: int = 0, n: int | None = None) -> np.ndarray:
        rows = self.arrays[field]
        return rows[first : len(rows) if n is None else first + n]


def views_of(plan: ViewPlan, image: np.ndarray, boxes: Sequence[Sequence[float]]) -> list[list[View]]:
    """The views of a picture [H, W, 3], a list for each of its boxes, or one list.

    Raises:
        ConfigError: a box outside the picture, or boxes for a plan of whole pictures.
        Reject: the plan cannot show a picture of this size.
    """
    from pipeline.views import view_runs

    height, width = image.shape[:2]
    return view_runs(plan, "image", (height, width), [corners(box, height, width) for box in boxes])


def meta_of(image: np.ndarray, runs: Sequence[Sequence[View]], class_id: int, n_sentences: int) -> dict[str, Any]:
    """The meta of a picture's record: its windows are blended without seams (`vpd.tasks.stitch`)."""
    from pipeline.views import consecutive

    height, width = image.shape[:2]
    return {
        "height": height,
        "width": width,
        "class_id": class_id,
        "items": consecutive([len(run) for run in runs]),
        "boxes": [{"score": 1.0} for _ in runs],
        "views": [view.to_json() for run in runs for view in run],
        "sentences": n_sentences,
        "blend": "seamless",
    }


def class_id_of(name: str, names: Sequence[str]) -> int:
    """The row of a class in a run's table; -1, its mean row, for no name. ConfigError: not a class of the run."""
    if not name:
        return -1
    if name not in names:
        known = f"Its classes: {', '.join(names)}." if names else "It has no classes: leave class_name out."
        raise ConfigError(f"class_name={name}: not a class of this run.{did_you_mean(name, names)} {known}")
    return list(names).index(name)


def as_pixels(image: Picture) -> np.ndarray:
    """uint8 [H, W, 3] of a file, a frame or an array; Reject: it cannot be read, or its levels or shape are others."""
    from diffusion_perception.predicting.picture_files import read

    if isinstance(image, Frame):
        return image.pixels
    if not isinstance(image, np.ndarray):
        return read(str(image))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise Reject(
            f"the image is {image.dtype} {list(image.shape)}; expected RGB levels as uint8 [H, W, 3]. Give the path of "
            "a picture's file to have it read here"
        )
    return image


def corners(box: Sequence[float], height: int, width: int) -> tuple[float, float, float, float]:
    """(x, y, width, height) as (x0, y0, x1, y1), the part of it inside an image; ConfigError: there is none."""
    from pipeline.rendering.geometry import box_inside

    if len(box) == 4:
        x0, y0, x1, y1 = box_inside(box, height, width)
        if x0 < x1 and y0 < y1:
            return x0, y0, x1, y1
    raise ConfigError(
        f"boxes: {list(box)} is not x, y, width and height inside the image of {width} x {height} pixels."
    )
