#!/usr/bin/env python3
"""Build shard sets from a dataset: VAE latents, text, labels, one set a split.

    ray job submit jobs/build_shards.py                                  (head started in the repository; RefCOCO)
    ray job submit -- jobs/build_shards.py --config configs/build/refcocog.yaml splits=[val] out=/data/shards
    ray job submit --working-dir . -- python jobs/build_shards.py source.root=/data/refer out=/data/shards

Every plug-in is bound first, in the driver (`forecast.building`), and refused there if it would be refused later;
`--dry-run` ends with that, without Ray: plan, counts, bytes and estimated cost. The same command again continues a
killed build, and does nothing where a set is finished.

Owns placement and progress: long-lived encoder actors, one per accelerator, each building whole shards; the driver only
hands out shards and writes the manifest last. Why Ray core and not Ray Data: docs/methods/ray.md#ray-core-or-ray-data.
What a shard is made of, and what is already done, is `pipeline.building.shard`'s and `pipeline.building.ledger`'s.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.builder import BUILDS_AT_ONCE, BuildJob, placed, set_folder, set_place
from diffusion_perception.forecast.building import forecast_build
from jobs import cluster, feeding, program
from jobs.command_line import CommandLine
from jobs.encoder_actor import EncoderActor
from pipeline.building import ledger
from pipeline.building.plan import PlannedShard, remaining
from pipeline.building.shard import finish_set
from pipeline.example import Source
from pipeline.prompts.class_table import TABLE
from shards.contract.manifest import Manifest
from shards.contract.schema import Schema
from shards.contract.tables import write_table
from shards.errors import ContractError
from shards.progress import Progress

REPORT_EVERY_S = 5.0


JOB = BuildJob
FLAGS = {
    "dry-run": "print what would be done, and end",
    "local": "run on this machine alone, on a private cluster",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config or "configs/build/refcoco.yaml", command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = placed(settings.bind(JOB, draft(command)))
    source, splits = forecast_build(job)
    print(settings.spelled_out(job), flush=True)
    for forecast in splits.values():
        for line in forecast.lines():
            print(f"plan: {line}", flush=True)
    if "dry-run" in command.flags:
        return
    n_shards, resources = max(len(forecast.planned) for forecast in splits.values()), job.resources
    asked = f"resources.actors={resources.actors} resources.cpus_per_actor={resources.cpus_per_actor:g}"
    n_actors = min(max(resources.actors, 1), n_shards)
    cluster.connect("local" in command.flags, n_actors * (resources.cpus_per_actor or 1), asked)
    job = feeding.fed(job)
    with EncoderPool(job, n_shards, source) as actors:
        for split, forecast in splits.items():
            build_split(job, source, split, forecast.planned, actors)


def build_split(job: BuildJob, source: Source, split: str, planned: list[PlannedShard], actors: list[Any]) -> Manifest:
    """Build what is missing of one set and finish it.

    Raises:
        FingerprintMismatch: the folder holds a build by another recipe; nothing in it is touched.
        SourceError: more rejects than the settings allow.
        ContractError: an actor died more often than it is restarted.
    """
    import ray

    folder = set_folder(job, split)
    recipe, schema, table = ray.get(actors[0].describe.remote(split))
    finished = ledger.open_build(folder, recipe)
    todo = remaining(planned, folder)
    if finished and not todo:
        print(f"[build] {folder.name}: already built with this recipe, nothing to do ({folder})", flush=True)
        return finished
    if len(todo) < len(planned):
        print(
            f"[build] {folder.name}: {len(planned) - len(todo)} of {len(planned)} shards are done, going on", flush=True
        )
    _dispatch(split, set_place(job, split), todo, actors, total=len(planned))
    tables = [write_table(folder, TABLE, table.arrays, table.info)] if table and not finished else []
    manifest = finish_set(
        planned,
        source,
        split,
        Schema.from_json(schema),
        recipe,
        folder,
        job.settings,
        tables,
        say=lambda line: print(f"[build] {folder.name}: {line}", flush=True),
    )
    counts = ", ".join(f"{name} {n}" for name, n in manifest.counts.items())
    print(f"[build] {folder.name}: finished ({counts}); fingerprint {manifest.fingerprint[:12]} ({folder})", flush=True)
    return manifest


def _dispatch(split: str, folder: str, todo: list[PlannedShard], actors: list[Any], total: int) -> None:
    """Keep every actor busy with one shard at a time until none is left."""
    import ray
    from ray.exceptions import ActorDiedError

    queue, running = list(todo), {}
    done_records = done_rejects = 0
    work = Progress(sum(len(shard.keys) for shard in todo), "records")
    reported = time.monotonic()
    idle = [actor for _ in range(BUILDS_AT_ONCE) for actor in actors]
    while queue or running:
        while queue and idle:
            actor, shard = idle.pop(), queue.pop(0)
            running[actor.build.remote(split, folder, shard)] = (actor, shard)
        ready, _ = ray.wait(list(running), timeout=REPORT_EVERY_S)
        for reference in ready:
            actor, shard = running.pop(reference)
            try:
                records, rejects = ray.get(reference)
            except ActorDiedError as error:
                raise ContractError(
                    f"shard {shard.name}: its worker died again and again ({error}). What is finished is kept; look at "
                    "the node's memory, then submit the same command again."
                ) from error
            done_records, done_rejects = done_records + records, done_rejects + rejects
            idle.append(actor)
        if time.monotonic() - reported > REPORT_EVERY_S or not (queue or running):
            reported = time.monotonic()
            within = ray.get([actor.progress.remote() for actor in {actor for actor, _ in running.values()}])
            records = done_records + sum(r for r, _ in within)
            rejects = done_rejects + sum(r for _, r in within)
            done = f"shards {total - len(queue) - len(running)}/{total}"
            print(f"[build] {Path(folder).name}: {done}, {progress_line(work, records, rejects)}", flush=True)


def progress_line(work: Progress, records: int, rejects: int) -> str:
    """Records of the shards to do, those left out among them, since both are done with."""
    return work.text(records + rejects) + (f", {rejects} of them rejected" if rejects else "")


class EncoderPool:
    """The encoder actors of a job, as a context: killed at the end, so that their resources are free at once."""

    def __init__(self, job: BuildJob, n_shards: int, source: Source) -> None:
        import ray

        n_actors, gpus = cluster.claim_actors(job.resources, n_shards, "encoder actor(s)")
        print(f"[build] {feeding.words(job, n_actors, gpus)}", flush=True)
        # One thread more than builds: `progress` must answer while they work. A killed actor starts again by itself.
        options: dict[str, Any] = {"num_cpus": job.resources.cpus_per_actor, "num_gpus": gpus}
        options |= {"max_restarts": 3, "max_task_retries": 3, "max_concurrency": BUILDS_AT_ONCE + 1}
        actor = ray.remote(**options)(EncoderActor)
        plain = settings.to_plain(job)
        read = ray.put(source) if getattr(source, "travels", False) else None  # once a node, not once an actor
        self._handles: list[Any] = [actor.remote(plain, "cuda" if gpus else "cpu", read) for _ in range(n_actors)]

    def __enter__(self) -> list[Any]:
        return self._handles

    def __exit__(self, *_: object) -> None:
        import ray

        for handle in self._handles:
            ray.kill(handle)


if __name__ == "__main__":
    program.main("jobs.build_shards")
