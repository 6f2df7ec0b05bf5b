#!/usr/bin/env python3
"""Predict on one image file; no dataset, no shards, no cluster.

    python jobs/predict.py run=runs/refcoco-vpd image=photo.jpg sentence="the dog on the left" out=overlay.png
    python jobs/predict.py run=runs/nyuv2-vpd image=room.jpg class_name=kitchen out=depth.png export=depth_mm.png
    python jobs/predict.py run=runs/coco-pose image=park.jpg 'boxes=[[388, 69, 109, 277]]' out=pose.png export=pose.json

Encodes image and sentence the way the run's training set was built (its checkpoint carries the recipe), cuts the image
into the views of the run's `predict_views`, and writes the picture the task draws. Owns the command; the library form
is `diffusion_perception.Predictor`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import plugins, settings
from diffusion_perception.places import resolve_path
from diffusion_perception.predictor import Predictor
from jobs import program
from jobs.command_line import CommandLine
from pipeline.files.photos import read_picture
from shards.errors import ConfigError, Reject


@dataclass(frozen=True)
class PredictJob:
    """Settings of a prediction."""

    run: str  # folder of a training run
    image: str  # any image file Pillow reads
    sentence: str = ""  # what to look for (refer)
    class_name: str = ""  # scene class (depth); empty: the mean of all classes
    boxes: tuple[tuple[float, ...], ...] = ()  # of persons, [[x, y, width, height], ...] (pose); empty: whole image
    checkpoint: str = "best"  # best, last, or a step number
    views: Annotated[Mapping[str, Any], plugins.VIEWS] = field(
        default_factory=dict
    )  # how the image is cut, {name: ..., ...}; empty: as the run says
    out: str = "prediction.png"  # picture to look at
    export: str = ""  # also the prediction itself, in the format of the benchmark's labels
    device: str = ""  # empty: CUDA if there is one


JOB = PredictJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    from PIL import Image

    job = settings.bind(JOB, draft(CommandLine.parse(words)))
    try:
        image = read_picture(Path(job.image))  # [H, W, 3]
    except Reject as reject:
        raise ConfigError(f"image={job.image}: not an image file that can be read: {reject}.") from reject
    predictor = Predictor(resolve_path(job.run, "run"), job.checkpoint, job.device, job.views)
    output = predictor(image, [job.sentence] if job.sentence else [], job.class_name, job.boxes)[0]
    Image.fromarray(predictor.task.draw(image, output)).save(job.out)
    print(f"wrote {job.out}")
    if job.export:
        predictor.task.export(output, job.export)
        print(f"wrote {job.export}")


if __name__ == "__main__":
    program.main("jobs.predict")
