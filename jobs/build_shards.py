#!/usr/bin/env python3
"""Build shard sets from a dataset: VAE latents, text, labels, one set a split.

    ray job submit jobs/build_shards.py                                  (head started in the repository; RefCOCO)
    ray job submit -- jobs/build_shards.py --config configs/build/refcocog.yaml splits=[val] out=/data/shards
    ray job submit --working-dir . -- python jobs/build_shards.py source.root=/data/refer out=/data/shards

Every plug-in is bound first, in the driver (`forecast.building`), and refused there if it would be refused later;
`--dry-run` ends with that, without Ray: plan, counts, bytes and estimated cost. The same command again continues a
killed build, brings a finished set up to date with its source's files, and does nothing where nothing has changed.

Owns the order of it: long-lived encoder actors, one per accelerator (`jobs.encoder_pool`), each build whole shards; the
driver holds the set's lease, hands out shards (`jobs.dispatch`) and writes the manifest last. Why Ray core and not Ray
Data: docs/methods/ray.md#ray-core-or-ray-data.
What a shard is made of is `pipeline.building.shard`'s, what is to be done `pipeline.building.transaction`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.assignment import Assignment, Described, check_source
from diffusion_perception.builder import BuildJob, placed, set_folder, set_place
from diffusion_perception.forecast.building import SplitForecast, forecast_build
from jobs import program
from jobs.command_line import CommandLine
from jobs.dispatch import dispatch
from jobs.encoder_pool import EncoderPool, rendering_words
from pipeline.building.lease import Lease
from pipeline.building.transaction import SetBuild, unchanged
from pipeline.example import Source
from pipeline.prompts.class_table import TABLE
from shards.contract.manifest import Manifest, TableEntry
from shards.contract.schema import Schema
from shards.contract.tables import write_table
from shards.errors import ContractError

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
    job: BuildJob, source: Source, forecast: SplitForecast, actors: list[Any], allow_changed: bool
) -> Manifest:
    """Build what is missing or has changed of one set and finish it; nothing is touched where nothing has to be done.

    Raises:
        FingerprintMismatch: the folder holds a build by another recipe, or the workers would make another set than this
            driver; nothing in it is touched.
        BeingBuilt: somebody else builds it.
        SourceError: more rejects than the settings allow.
        ContractError: some shards could not be built.
    """
    import ray

    split, folder = forecast.split, set_folder(job, forecast.split)
    described: Described = ray.get(actors[0].describe.remote(split))
    check_source(described, source, split)
    looked = (folder, forecast.planned, source, split, forecast.plan, described.recipe)
    if finished := unchanged(*looked):
        print(f"[build] {folder.name}: already built with this recipe, nothing to do ({folder})", flush=True)
        return finished

    def say(line: str) -> None:
        print(f"[build] {folder.name}: {line}", flush=True)

    with Lease(folder, say) as lease:
        begun = SetBuild(*looked, described.environment, allow_changed)
        for line in begun.situation.lines():
            say(line)
        work = Assignment(
            split,
            set_place(job, split),
            begun.order,
            described.recipe,
            described.environment,
            lease.token,
            allow_changed,
        )
        try:
            dispatch(work, begun.todo, actors, len(forecast.planned), lease.check)
        except ContractError:
            begun.list_rejects()
            raise

        def tables() -> list[TableEntry]:
            found = described.table
            return [write_table(folder, TABLE, found.arrays, found.info)] if found else []

        lease.check()
        manifest = begun.finish(Schema.from_json(described.schema), job.settings, say, tables)
    counts = ", ".join(f"{name} {n}" for name, n in manifest.counts.items())
    print(f"[build] {folder.name}: finished ({counts}); fingerprint {manifest.fingerprint[:12]} ({folder})", flush=True)
    return manifest


if __name__ == "__main__":
    program.main("jobs.build_shards")
