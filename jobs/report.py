#!/usr/bin/env python3
"""A page about one training run or several: curves, scores, settings, the best and the worst predictions.

    diffusion-perception report runs/refer
    diffusion-perception report runs/seed-0 runs/seed-1 runs/seed-2 html=seeds.html
    diffusion-perception report s3://bucket/runs/refer examples=8 page.pictures=data/refer/images

Reads the runs' folders, of URLs too, and writes one HTML file that needs nothing else. Of several runs it lists the
settings that differ, and of those that differ in their seed alone mean and standard deviation. `features=true`
adds what the backbone makes of the run's fixed validation pictures; `examples=0` without it loads no model. Owns the
command; the page is `diffusion_perception.report`'s.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from diffusion_perception.report.predictions import ExampleOptions
from diffusion_perception.report.writing import write_report
from diffusion_perception.set_page import PictureOptions
from jobs import program
from jobs.command_line import CommandLine, places_first
from shards.errors import ConfigError
from shards.storage.options import check_printable_url


@dataclass(frozen=True)
class ReportJob:
    """Settings of a report."""

    runs: tuple[str, ...] = ()  # folders or URLs of the runs: the words behind `report`
    html: str = "report.html"  # file to write
    examples: int = (
        6  # predictions of each run that are shown, of the best and of the worst; 0: none, no model is loaded
    )
    checkpoint: str = "best"  # whose predictions: best, last, or a step number
    limit: int = 200  # records of the validation set that are looked at for them; 0: all
    features: bool = False  # also what the backbone makes of the run's fixed pictures: levels in colours, words
    page: PictureOptions = field(default_factory=PictureOptions)  # where pictures come from

    def __post_init__(self) -> None:
        if self.examples < 0 or self.limit < 0:
            raise ConfigError(f"examples={self.examples} limit={self.limit}: expected 0 or more of each.")
        for place in self.runs:  # the page shows it
            check_printable_url(place, "runs")


JOB = ReportJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(places_first(words, "runs"), flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    if not job.runs:
        raise ConfigError("report: of which runs? Name their folders or URLs first, as in report runs/refer.")
    write_report(
        [resolve_path(place, "runs") for place in job.runs],
        os.path.expanduser(job.html),
        ExampleOptions(job.examples, job.checkpoint, job.limit, job.page.placed(), job.features),
        lambda line: print(line, flush=True),
    )
    print(f"curves, scores and pictures: {job.html}", flush=True)


if __name__ == "__main__":
    program.main("jobs.report")
