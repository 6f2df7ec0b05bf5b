#!/usr/bin/env python3
"""Build shard sets from a dataset: VAE latents, text, labels, one set a split.

    ray job submit jobs/build_shards.py                                  (head started in the repository; RefCOCO)
    ray job submit -- jobs/build_shards.py --config configs/build/refcocog.yaml splits=[val] out=/data/shards
    ray job submit --working-dir . -- python jobs/build_shards.py source.root=/data/refer out=/data/shards

Every plug-in is bound first, in the driver (`building.forecast`), and refused there if it would be refused later;
`--dry-run` ends with that, without Ray: plan, counts, bytes and estimated cost. The same command again continues a
killed build, brings a finished set up to date with its source's files, and does nothing where nothing has changed.

Owns the order of it: long-lived encoder actors, one per accelerator (`jobs.encoder_pool`), each build whole shards; the
driver holds the set's lease and writes the manifest last (`diffusion_perception.building.split`), and hands out shards
(`jobs.dispatch`). Why Ray core and not Ray Data: docs/methods/ray.md#ray-core-or-ray-data.
What a shard is made of is `pipeline.building.shard`'s, what is to be done `pipeline.building.transaction`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.building import split as split_building
from diffusion_perception.building.assignment import Assignment
from diffusion_perception.building.builder import BuildJob, placed
from diffusion_perception.building.forecast import SplitForecast, forecast_build
from jobs import program
from jobs.command_line import CommandLine
from jobs.dispatch import dispatch
from jobs.encoder_pool import EncoderPool, rendering_words
from jobs.for_good import for_good
from pipeline.building.plan import PlannedShard
from pipeline.example import Source
from shards.contract.manifest import Manifest

JOB = BuildJob
FLAGS = {
    "dry-run": "print what would be done, and end",
    "allow-changed": "go on with other library versions, devices or revisions than the set was begun with",
    "local": "run on this machine alone, on a private cluster",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config or "configs/build/refcoco.yaml", command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job, is_dry = placed(settings.bind(JOB, draft(command))), "dry-run" in command.flags
    with EncoderPool(job, "local" in command.flags) as pool:
        with for_good():
            source, splits = forecast_build(job, None if is_dry else pool.begin)
        print(settings.spelled_out(job), flush=True)
        for forecast in splits.values():
            for line in forecast.lines():
                print(f"plan: {line}", flush=True)
        for line in rendering_words(job.resources):
            print(f"plan: {line}", flush=True)
        if is_dry:
            return
        job, actors = pool.fill(max(len(forecast.planned) for forecast in splits.values()), source)
        for forecast in splits.values():
            build_split(job, source, forecast, actors, "allow-changed" in command.flags)


def build_split(
    job: BuildJob, source: Source, forecast: SplitForecast, actors: list[Any], allow_changed: bool = False
) -> Manifest:
    """Build one set with actors; raises what `split_building.build_split` does."""
    import ray

    def build(work: Assignment, todo: list[PlannedShard], total: int, check: Callable[[], None]) -> None:
        dispatch(work, todo, actors, total, check)

    described: Any = ray.get(actors[0].describe.remote(forecast.split))
    return split_building.build_split(job, source, forecast, described, build, allow_changed=allow_changed)


if __name__ == "__main__":
    program.main("jobs.build_shards")
