#!/usr/bin/env python3
"""Bake features: chosen layers of a diffusion model on a shard set's latents, as a set of the same keys beside it.

    diffusion-perception features model=models/sd15 set=sets/scenes out=sets/scenes-features layers=[up_blocks.1]
    python jobs/features.py --config bake.yaml --dry-run                fields, bytes and hours; nothing is written
    ray job submit -- jobs/features.py --config bake.yaml workers=8

Float16 or as `store` says, a shard for every shard; `pca=64` keeps so many principal components of a layer. Given again
it goes on where it stopped, to the same bytes; a set of another recipe (model's weights, set, settings) is refused.
Owns the command; placement is `jobs.baking_crew`'s, baking `diffusion_perception.baking`'s.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.baking.bake import bake, forecast, run_here
from diffusion_perception.baking.baker import Baker, kind_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.places import resolve_model, resolve_path
from jobs import baking_crew, program
from jobs.command_line import CommandLine

JOB = BakeJob
FLAGS = {
    "dry-run": "say what a bake would write and take, after one batch; nothing is written",
    "local": "with workers: on this machine alone, on a private cluster",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    places = {name: resolve_path(getattr(job, name), name) for name in ("set", "out", "pca_from")}
    job = settings.replaced(job, places | {"model": resolve_model(job.model)})
    if "dry-run" in command.flags:
        for line in forecast(job, Baker(job)):
            print(f"plan: {line}", flush=True)
    elif job.workers:
        baking_crew.spread(kind_of(job), job, Baker, local="local" in command.flags)
    else:
        baker = Baker(job)
        bake(kind_of(job), job, baker.described(), partial(run_here, baker))


if __name__ == "__main__":
    program.main("jobs.features")
