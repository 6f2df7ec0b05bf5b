#!/usr/bin/env python3
"""A page to play with, in a browser: predictions of trained models, features of a frozen one, records of a set.

    diffusion-perception ui runs/refcoco-vpd hf://owner/nyuv2-vpd
    diffusion-perception ui features=models/sd15
    diffusion-perception ui set=data/shards/refcoco-unc-val page.model=models/sd15

Upload a picture or take one with the webcam. The page is for this machine alone unless `host` says otherwise; it loads
nothing from elsewhere. Needs the extra `ui`. Owns the command; the page is `diffusion_perception.ui`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_model, resolve_path
from diffusion_perception.ui.job import UiJob
from diffusion_perception.ui.page import page_of, serve
from jobs import program
from jobs.command_line import CommandLine, places_first

JOB = UiJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    job = settings.bind(JOB, draft(CommandLine.parse(places_first(words, "runs"), flags=FLAGS)))
    job = settings.replaced(
        job,
        {
            "runs": tuple(resolve_path(place, "runs") for place in job.runs),
            "features": resolve_model(job.features),
            "set": resolve_path(job.set, "set"),
            "page": job.page.placed(),
        },
    )
    serve(page_of(job), job)


if __name__ == "__main__":
    program.main("jobs.ui")
