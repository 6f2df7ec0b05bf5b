#!/usr/bin/env python3
"""Predict on one image file; no dataset, no shards, no cluster.

    python jobs/predict.py run=runs/refcoco-vpd image=photo.jpg sentence="the dog on the left" out=overlay.png
    python jobs/predict.py run=runs/nyuv2-vpd image=room.jpg class_name=kitchen out=depth.png export=depth_mm.png

Encodes image and sentence the way the run's training set was built (its checkpoint carries the recipe), cuts the image
into the views of the run's `predict_views`, and writes the picture the task draws. Owns the command; `Predictor` is the
library form of it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

import numpy as np

from jobs import cluster, config
from shards.errors import ConfigError


@dataclass(frozen=True)
class PredictJob:
    """Settings of a prediction."""

    run: str  # folder of a training run
    image: str  # any image file Pillow reads
    sentence: str = ""  # what to look for (refer)
    class_name: str = ""  # scene class (depth); empty: the mean of all classes
    checkpoint: str = "best"  # best, last, or a step number
    out: str = "prediction.png"  # picture to look at
    export: str = ""  # also the prediction itself, in the format of the benchmark's labels
    device: str = ""  # empty: CUDA if there is one


@dataclass(frozen=True)
class ImageRecord:
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
    """

    def __init__(self, run: str, checkpoint: str = "best", device: str = "") -> None:
        import torch

        from jobs import plugins
        from jobs.trained import load_trained

        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.trained = load_trained(run, checkpoint, self.device)
        self.task = self.trained.task
        spec = dict(self.trained.predict_views)
        if spec["name"] == "exact":
            spec.setdefault("size", list(self.trained.size_px))
        self.plan = plugins.build_plugin(plugins.VIEWS, spec, "predict_views")
        self.vae = self.trained.encoder("image")
        self.clip = self.trained.encoder("text") if self.task.uses_text else None

    def __call__(self, image: np.ndarray, sentences: list[str] | None = None, class_name: str = "") -> np.ndarray:
        """Predict one image.

        Args:
            image: uint8 [H, W, 3].
            sentences: for tasks that take sentences, one prediction each.
            class_name: for tasks conditioned on a class; empty is the mean of all classes.

        Returns:
            float32 [P, C, H, W]: a prediction per sentence, or one.

        Raises:
            ConfigError: no sentence where the task needs one, or an unknown class.
        """
        import torch

        from vpd.evaluate import predict_record

        if self.task.uses_text and not sentences:
            raise ConfigError("say what to look for: sentence='the dog on the left'.")
        record = self.encoded(image, sentences or [], class_name)
        fields = ("text",) if self.task.uses_text else ()
        with torch.inference_mode():
            outputs = predict_record(self.trained.model, self.task, record, fields, self.device)
            return self.task.predictions(record, outputs).cpu().numpy()

    def encoded(self, image: np.ndarray, sentences: list[str], class_name: str) -> Any:
        """The image as a record: latents of its views, states of the sentences."""
        from pipeline.geometry import render, to_pixels

        height, width = image.shape[:2]
        views = self.plan.views("image", height, width)
        latents = [
            self.vae.encode(to_pixels([render(image, view)], self.plan.size_px))["latent"] for view in views
        ]  # V x [1, 4, h, w]
        arrays = {"latent": np.concatenate(latents)}
        if self.clip is not None:
            arrays["text"] = self.clip.encode(self.clip.tokenize(sentences)).astype(np.float16)  # [S, L, D]
        meta = {
            "height": height,
            "width": width,
            "class_id": self._class_id(class_name),
            "views": [view.to_json() for view in views],
        }
        return ImageRecord("image", meta, arrays)

    def _class_id(self, name: str) -> int:
        names = self.trained.class_names
        if not name:
            return -1  # the mean row of the table
        if name not in names:
            hint = config.suggestion(name, list(names))
            raise ConfigError(f"class_name={name}: not a class of this run.{hint} Its classes: {', '.join(names)}.")
        return names.index(name)


def run(words: list[str]) -> None:
    from PIL import Image, UnidentifiedImageError

    command = config.CommandLine.parse(words)
    data: dict[str, Any] = {}
    for key, text in command.overrides:
        # Sentences are taken as they are: "no: the left one" is not YAML.
        if key in ("sentence", "class_name"):
            data[key] = text
        else:
            config.lay_over(data, key, text)
    job = config.build(PredictJob, data)
    try:
        with Image.open(job.image) as picture:
            image = np.array(picture.convert("RGB"))  # [H, W, 3]
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f"image={job.image}: not an image file that can be read: {error}") from error
    predictor = Predictor(cluster.resolve_path(job.run, "run"), job.checkpoint, job.device)
    output = predictor(image, [job.sentence] if job.sentence else [], job.class_name)[0]
    Image.fromarray(predictor.task.draw(image, output)).save(job.out)
    print(f"wrote {job.out}")
    if job.export:
        predictor.task.export(output, job.export)
        print(f"wrote {job.export}")


if __name__ == "__main__":
    cluster.main("jobs.predict")
