#!/usr/bin/env python3
"""Draw what a frozen diffusion model sees: layers in three colours, words over a picture, matches between two.

    diffusion-perception picture pca model=models/sd15 image=cat.jpg layers=[up_blocks.1,up_blocks.2] out=layers.png
    diffusion-perception picture attention model=models/sd15 image=cat.jpg prompt="a cat on a sofa" out=words.png
    diffusion-perception picture match model=models/sd15 image=cat.jpg other=dog.jpg layers=[up_blocks.1] out=match.png

One PNG. Owns the command; the picture is `diffusion_perception.picturing`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.picturing import PictureJob, picture
from diffusion_perception.places import resolve_model, resolve_path
from jobs import program
from jobs.command_line import CommandLine

JOB = PictureJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    if words and "=" not in words[0] and not words[0].startswith("-"):  # `picture pca`
        words = [f"kind={words[0]}", *words[1:]]
    job = settings.bind(JOB, draft(CommandLine.parse(words, flags=FLAGS)))
    places = {name: resolve_path(getattr(job, name), name) for name in ("image", "other", "out")}
    picture(settings.replaced(job, places | {"model": resolve_model(job.model)}))


if __name__ == "__main__":
    program.main("jobs.picture")
