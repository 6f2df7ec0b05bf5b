#!/usr/bin/env python3
"""Label latents: depth or normals of a finished set, encoded by its VAE, as a set of the same records with both.

    diffusion-perception labels model=models/sd15 set=sets/rooms out=sets/rooms-latents
    python jobs/label_latents.py model=models/sd15 set=sets/rooms out=sets/x space=disparity --dry-run  bytes and hours
    python jobs/label_latents.py model=models/sd15 set=sets/rooms out=sets/n label=normals intrinsics=[519,519,326,254]
    ray job submit -- jobs/label_latents.py --config labels.yaml workers=8

No picture is needed: depth is cut by the views that the set records. Given again it goes on where it stopped, to the
same bytes; a set of another recipe (VAE's weights, set, settings) is refused. Owns the command; placement is
`jobs.baking_crew`'s, what is made `diffusion_perception.label_latents`'.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.baking.bake import bake, run_here
from diffusion_perception.label_latents.job import LabelLatentsJob
from diffusion_perception.label_latents.maker import KIND, LabelLatentMaker, forecast
from diffusion_perception.places import resolve_model, resolve_path
from jobs import baking_crew, program
from jobs.command_line import CommandLine

JOB = LabelLatentsJob
FLAGS = {
    "dry-run": "say what the set would hold and take, after one batch; nothing is written",
    "local": "with workers: on this machine alone, on a private cluster",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    places = {name: resolve_path(getattr(job, name), name) for name in ("set", "out")}
    job = settings.replaced(job, places | {"model": resolve_model(job.model)})
    maker = LabelLatentMaker(job)
    if "dry-run" in command.flags:
        for line in forecast(maker):
            print(f"plan: {line}", flush=True)
    elif job.workers:
        baking_crew.spread(KIND, job, LabelLatentMaker, local="local" in command.flags)
    else:
        bake(KIND, job, maker.described(), partial(run_here, maker))


if __name__ == "__main__":
    program.main("jobs.label_latents")
