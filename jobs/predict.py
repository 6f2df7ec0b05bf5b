#!/usr/bin/env python3
"""Predict on one picture, or on folders, globs, lists and URLs of pictures, and on videos: no dataset, no shards.

    python jobs/predict.py run=runs/refcoco-vpd image=photo.jpg sentence="the dog on the left" out=overlay.png
    python jobs/predict.py run=runs/nyuv2-vpd image=room.jpg class_name=kitchen out=depth.png export=depth_mm.png
    python jobs/predict.py run=runs/coco-pose image=park.jpg 'boxes=[[388, 69, 109, 277]]' out=pose.png export=pose.json
    python jobs/predict.py run=runs/nyuv2-vpd images=photos into=depths exports=[.npy]
    python jobs/predict.py run=runs/nyuv2-vpd images=clip.mp4 into=depths video.every=5
    ray job submit -- jobs/predict.py run=/data/runs/nyuv2-vpd images=/data/photos into=/data/depths --ray

Encodes picture and sentence the way the run's training set was built (its checkpoint carries the recipe), cuts the
picture into the views of the run's `predict_views`, and writes the picture the task draws. Many pictures load the model
once; started again, the command goes on where it stopped. Owns the command; the work is
`diffusion_perception.predicting.command`'s, the library form `diffusion_perception.Predictor`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from diffusion_perception.predicting.command import predict
from diffusion_perception.predicting.job import PredictJob
from jobs import program
from jobs.command_line import CommandLine

JOB = PredictJob
FLAGS = {
    "ray": "spread many pictures over a Ray cluster, whose nodes share the folders",
    "local": "with --ray: on this machine alone, on a private cluster",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    run_folder = resolve_path(job.run, "run")
    if "ray" not in command.flags:
        predict(job, run_folder)
        return
    from jobs.spread_prediction import spread  # a command that needs no cluster loads nothing of Ray's

    spread(job, run_folder, local="local" in command.flags)


if __name__ == "__main__":
    program.main("jobs.predict")
