#!/usr/bin/env python3
"""Bake features: chosen layers of a diffusion model on a set's latents, or on pictures, as a set of the same keys.

    diffusion-perception features model=models/sd15 set=sets/scenes out=sets/scenes-features layers=[up_blocks.1]
    diffusion-perception features model=models/sd15 pictures=photos out=sets/photos-features layers=[up_blocks.1]
    python jobs/features.py --config bake.yaml --dry-run                fields, bytes and hours; nothing is written
    ray job submit -- jobs/features.py --config bake.yaml workers=8

Float16 or as `store` says, a shard for every shard; `pca=64` keeps so many principal components of a layer. Given again
it goes on where it stopped, to the same bytes; a set of another recipe (model's weights, set, settings) is refused.
Latents of `pictures` are built first, as `build` does, and go when the set is finished.
Owns the command; placement is `jobs.baking_crew`'s, baking `diffusion_perception.baking`'s.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.baking import from_pictures
from diffusion_perception.baking.bake import bake, forecast, run_here
from diffusion_perception.baking.baker import Baker, kind_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.building.forecast import forecast_build
from diffusion_perception.places import resolve_model, resolve_path
from jobs import baking_crew, build_shards, program
from jobs.command_line import CommandLine
from jobs.encoder_pool import EncoderPool

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
    job, local = settings.replaced(job, places | {"model": resolve_model(job.model)}), "local" in command.flags
    if "dry-run" in command.flags:
        for line in from_pictures.forecast_pictures(job) if job.pictures else forecast(job, Baker(job)):
            print(f"plan: {line}", flush=True)
        return
    if job.pictures:
        if from_pictures.finished(job):
            return
        _build_latents(job, local=local)
        job = from_pictures.of_latents(job)
    if job.workers:
        baking_crew.spread(kind_of(job), job, Baker, local=local)
    else:
        baker = Baker(job)
        bake(kind_of(job), job, baker.described(), partial(run_here, baker))


def _build_latents(job: BakeJob, *, local: bool) -> None:
    """Build the latents of pictures, or what is missing of them.

    Raises:
        ContractError: what a build is refused for.
    """
    if not job.workers:
        from_pictures.build_here(job)
    else:
        build = from_pictures.build_job(job)
        with EncoderPool(build, local) as pool:
            source, splits = forecast_build(build, pool.begin)
            build, actors = pool.fill(len(splits[from_pictures.SPLIT].planned), source)
            build_shards.build_split(build, source, splits[from_pictures.SPLIT], actors)
    from_pictures.tell_rejects(job)


if __name__ == "__main__":
    program.main("jobs.features")
