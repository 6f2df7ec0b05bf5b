#!/usr/bin/env python3
"""Publish a trained model: one folder with weights, settings, encoders, digests and a card, here, at a URL or on a hub.

    diffusion-perception publish run=runs/nyuv2-vpd out=models/nyuv2-vpd dtype=float16
    diffusion-perception publish run=runs/nyuv2-vpd out=hf://owner/nyuv2-vpd encoders=named
    diffusion-perception publish run=models/vpd-depth out=s3://bucket/models/vpd-depth

`predict run=FOLDER`, `run=hf://owner/name` and `Predictor.from_pretrained` take what was published. Nothing is
overwritten without `--replace`. Owns the command; the work is `diffusion_perception.zoo`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_model, resolve_path
from diffusion_perception.zoo.job import PublishJob
from diffusion_perception.zoo.writing import publish
from jobs import program
from jobs.command_line import CommandLine

JOB = PublishJob
FLAGS = {
    "replace": "a model may be there already, and is overwritten",
    "public": "everybody may read a repository that is made on the hub; else it is private",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    places = {name: resolve_path(getattr(job, name), name) for name in ("run", "out")}
    publish(
        settings.replaced(job, places | {"base": resolve_model(job.base)}),
        replace_there="replace" in command.flags,
        private="public" not in command.flags,
        say=lambda line: print(f"[publish] {line}", flush=True),
    )


if __name__ == "__main__":
    program.main("jobs.publish")
