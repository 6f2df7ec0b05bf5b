#!/usr/bin/env python3
"""Bake features: chosen layers of a diffusion model on a shard set's latents, as a set of the same keys beside it.

    diffusion-perception features model=models/sd15 set=sets/scenes out=sets/scenes-features layers=[up_blocks.1]
    python jobs/features.py --config bake.yaml --dry-run                fields, bytes and hours; nothing is written
    ray job submit -- jobs/features.py --config bake.yaml workers=8

Float16 or as `store` says, a shard for every shard; `pca=64` keeps so many principal components of a layer. Given again
it goes on where it stopped, to the same bytes; a set of another recipe (model's weights, set, settings) is refused.
Owns the command and placement; baking is `diffusion_perception.baking`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.baking.bake import Shard, bake, forecast, run_here
from diffusion_perception.baking.baker import Baker, open_source
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.places import resolve_model, resolve_path
from jobs import cluster, program
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
        _spread(job, local="local" in command.flags)
    else:
        baker = Baker(job)
        bake(job, baker.described(), partial(run_here, baker))


class _Actor:
    """A baker on a worker."""

    def __init__(self, plain: dict[str, Any]) -> None:
        self._baker = Baker(settings.bind(BakeJob, plain))

    def described(self) -> tuple[dict[str, Any], Any]:
        return self._baker.described()

    def bake(self, recipe: dict[str, Any], shard: Shard) -> tuple[Shard, Any]:
        self._baker.check(recipe)
        return shard, self._baker.bake(shard.number, shard.name)


def _spread(job: BakeJob, *, local: bool) -> None:
    """Bake with actors, each with the model loaded once.

    Raises:
        ConfigError: no cluster, or too few free resources.
    """
    import ray
    from ray.util import ActorPool

    number = min(job.workers, len(open_source(job).manifest.shards))
    asked = job.cpus_per_worker, job.gpus_per_worker
    each = cluster.claim_workers(number, *asked, "baking worker(s)", local=local)
    options: dict[str, Any] = {"num_cpus": each["CPU"], "num_gpus": each.get("GPU")}
    actor = ray.remote(**options, max_restarts=3, max_task_retries=3)(_Actor)
    actors: list[Any] = [actor.remote(settings.to_plain(job)) for _ in range(number)]
    described: Any = ray.get(actors[0].described.remote())

    def spread(todo: Sequence[Shard]) -> Iterator[tuple[Shard, Any]]:
        pool: Any = ActorPool(actors)
        yield from pool.map_unordered(lambda one, shard: one.bake.remote(described[0], shard), list(todo))

    bake(job, described, spread)
    for one in actors:
        ray.kill(one)


if __name__ == "__main__":
    program.main("jobs.features")
