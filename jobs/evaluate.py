#!/usr/bin/env python3
"""Evaluate a trained run on any number of shard sets, on 1..N workers, each record exactly once.

    ray job submit -- jobs/evaluate.py run=runs/refer
    ray job submit -- jobs/evaluate.py run=runs/refer sets=[data/shards/refcoco-unc-testA] workers=4 checkpoint=best

Prints one row a set and writes `<run>/evaluation-step-N.json`. `workers=0` evaluates in this very process, without a
cluster. Owns placement: plain Ray actors, since evaluation needs no collectives; worker r of w takes every w-th record.
What each does, and how their parts are joined, is `diffusion_perception.evaluation`'s.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.evaluation import EvaluateJob, Evaluator, Parts, evaluate, table
from diffusion_perception.places import resolve_path
from jobs import cluster, program
from jobs.command_line import CommandLine
from shards.progress import EVERY_S, Progress
from shards.reading.reader import ShardSet

JOB = EvaluateJob
FLAGS = {"local": "run on this machine alone, on a private cluster"}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    job = settings.replaced(
        job,
        {
            "run": resolve_path(job.run, "run"),
            "sets": tuple(resolve_path(s, "sets") for s in job.sets),
            "out": resolve_path(job.out, "out"),
            "export": resolve_path(job.export, "export"),
        },
    )
    results = evaluate(job, partial(_place, job, "local" in command.flags) if job.workers else None)
    print(table(results), flush=True)


def _place(job: EvaluateJob, local: bool) -> Parts:
    """Start the workers, on a cluster that has enough free for them.

    Raises:
        ConfigError: no cluster, or too few free resources.
    """
    import ray

    asked = job.cpus_per_worker, job.gpus_per_worker
    each = cluster.claim_workers(job.workers, *asked, "evaluation worker(s)", local=local)
    # Two threads: `progress` must answer while a pass runs.
    options: dict[str, Any] = {"num_cpus": each["CPU"], "num_gpus": each.get("GPU"), "max_concurrency": 2}
    actor = ray.remote(**options, max_restarts=2, max_task_retries=2)(Evaluator)
    workers = [actor.remote(job) for _ in range(job.workers)]

    def parts(url: str, shards: ShardSet, tag: str) -> list[Any]:
        records = Progress(min(job.limit, shards.n_records) if job.limit else shards.n_records, "records")
        states = [worker.part.remote(url, rank) for rank, worker in enumerate(workers)]
        while ray.wait(states, num_returns=len(states), timeout=EVERY_S)[1]:
            done = sum(ray.get([worker.progress.remote() for worker in workers]))
            print(f"{tag} {records.text(done)}", flush=True)
        return ray.get(states)

    return parts


if __name__ == "__main__":
    program.main("jobs.evaluate")
