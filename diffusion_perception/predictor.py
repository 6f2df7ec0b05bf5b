"""`Predictor`: a trained model on pictures; no dataset, no shards, no cluster.

Encodes picture and sentence the way the model's training set was built (its checkpoint or folder says how), cuts the
picture into the views the model predicts with, and puts their predictions together. Loading is
`diffusion_perception.trained`'s; what is drawn of a prediction, the task's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_perception import plugins
from shards.errors import ConfigError, Reject, did_you_mean
from shards.geometry.view import View

Plugin = Mapping[str, Any]


@dataclass(frozen=True)
class EncodedPicture:
    """An image encoded on the spot, as tasks read a record of a set."""

    key: str
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def array(self, field: str, first: int = 0, n: int | None = None) -> np.ndarray:
        rows = self.arrays[field]
        return rows[first : len(rows) if n is None else first + n]


class Predictor:
    """A trained run, loaded once.

    Args:
        run: folder of a training run.
        checkpoint: `best`, `last` or a step number.
        device: e.g. `cpu` or `cuda`; empty takes CUDA if there is one.
        views: view plan that cuts an image, by name and options; empty takes the run's.
    """

    def __init__(self, run: str, checkpoint: str = "best", device: str = "", views: Plugin | None = None) -> None:
        import torch

        from diffusion_perception.trained import load_trained

        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.trained = load_trained(run, checkpoint, self.device)
        self.task = self.trained.task
        spec = views or self.trained.predict_views
        self.plan = plugins.build_plugin(plugins.VIEWS, spec, "views" if views else "predict_views")
        self.vae = self.trained.encoder("image")
        self.clip = self.trained.encoder("text") if self.task.uses_text else None

    def __call__(
        self,
        image: np.ndarray | str | Path,
        sentences: Sequence[str] = (),
        class_name: str = "",
        boxes: Sequence[Sequence[float]] = (),
    ) -> np.ndarray:
        """Predict one image.

        Args:
            image: a picture's file, or RGB as uint8 [H, W, 3].
            sentences: for tasks that take sentences, one prediction each.
            class_name: for tasks conditioned on a class; empty is the mean of all classes.
            boxes: for pose, (x, y, width, height) of each person in pixels; empty: the image is one person's box.

        Returns:
            float32 [P, C, H, W]: a prediction per sentence, or one; for pose float64 [1, persons, 17, 3].

        Raises:
            ConfigError: no sentence where the task needs one, an unknown class, or a box outside the image.
            Reject: a file that cannot be read as a picture, or an array of another type or shape.
        """
        import torch

        from vpd.inference.evaluate import predict_record

        if self.task.uses_text and not sentences:
            raise ConfigError("say what to look for: sentence='the dog on the left'.")
        record = self.encoded(as_pixels(image), sentences, class_name, boxes)
        fields = ("text",) if self.task.uses_text else ()
        with torch.inference_mode():
            outputs = predict_record(self.trained.model, self.task, record, fields, self.device)
            return self.task.predictions(record, outputs).cpu().numpy()

    def encoded(
        self, image: np.ndarray, sentences: Sequence[str], class_name: str, boxes: Sequence[Sequence[float]] = ()
    ) -> Any:
        """The image as a record: latents of its views, states of the sentences."""
        from pipeline.views import consecutive, view_runs

        height, width = image.shape[:2]
        runs = view_runs(self.plan, "image", (height, width), [corners(box, height, width) for box in boxes])
        views = [view for run in runs for view in run]
        arrays = {"latent": np.concatenate([self._latent(image, view) for view in views])}  # [V, C, h, w]
        if self.clip is not None:
            arrays["text"] = self.clip.encode(self.clip.tokenize(list(sentences))).astype(np.float16)  # [S, L, D]
        meta = {
            "height": height,
            "width": width,
            "class_id": self._class_id(class_name),
            "items": consecutive([len(run) for run in runs]),
            "boxes": [{"score": 1.0} for _ in runs],
            "views": [view.to_json() for view in views],
            "blend": "seamless",
        }
        return EncodedPicture("image", meta, arrays)

    def _latent(self, image: np.ndarray, view: View) -> np.ndarray:
        """`[1, C, h, w]` of one view."""
        from pipeline.rendering.geometry import render, to_pixels

        pixels = to_pixels([render(image, view)], view.size_px, pad_before_px=[view.pad_before_px])
        return self.vae.encode(pixels)["latent"]

    def _class_id(self, name: str) -> int:
        names = self.trained.class_names
        if not name:
            return -1  # the mean row of the table
        if name not in names:
            hint = did_you_mean(name, names)
            raise ConfigError(f"class_name={name}: not a class of this run.{hint} Its classes: {', '.join(names)}.")
        return names.index(name)


def as_pixels(image: np.ndarray | str | Path) -> np.ndarray:
    """uint8 [H, W, 3] of a file or of an array; Reject: it cannot be read, or its levels or shape are others."""
    from pipeline.files.photos import read_picture

    if not isinstance(image, np.ndarray):
        return read_picture(Path(image))
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
