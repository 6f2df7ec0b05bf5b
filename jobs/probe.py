#!/usr/bin/env python3
"""Probe features: which layer, timestep and prompt of a diffusion model hold what a task needs, in one table.

    diffusion-perception probe sweep.yaml
    python jobs/probe.py model=models/sd15 task=seg train=sets/ade20k-train test=sets/ade20k-val \\
        layers=[up_blocks.1,up_blocks.2] timesteps=[1,50,261] out=probes/ade20k
    python jobs/probe.py model=models/sd21 pairs.name=spair pairs.root=data/SPair-71k layers=[up_blocks.1] \\
        timesteps=[261] noise=ddpm posterior=sample ensemble=8 size_px=[768,768] "prompts=['a photo of a {category}']"
    ray job submit -- jobs/probe.py --config sweep.yaml workers=8

A task's probes learn from the latents and labels of one shard set and are scored on another as the task is; features
that are baked already are read with `baked.NAME.train=` and `.test=`. Pairs are matched by features alone. Writes
`table.txt`, `table.json` and, with matplotlib, `table.svg`; given again, it computes the trials that are missing.
Owns the command and placement; a trial is `diffusion_perception.probing`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import located, resolve_model, resolve_path
from diffusion_perception.probing.job import ProbeJob
from diffusion_perception.probing.sweep import Trial, load, rows_of, run_here, sweep, text_of
from diffusion_perception.probing.table import Row
from diffusion_perception.settings.typed import Typed
from jobs import cluster, program
from jobs.command_line import CommandLine

JOB = ProbeJob
FLAGS = {"local": "with workers: on this machine alone, on a private cluster"}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data; without a name a probe is what its key says, as in `probes.linear.lr=0.01`."""
    data = settings.read_file(command.config, command.overrides)
    probes = data.get("probes")
    if isinstance(probes, Typed):
        probes = probes.opened("probes")
    if not isinstance(probes, Mapping):
        return data
    named = {key: {"name": key, **said} if isinstance(said, Mapping) else said for key, said in probes.items()}
    return {**data, "probes": named}


def run(words: list[str]) -> None:
    if words and "=" not in words[0] and not words[0].startswith("-"):  # `probe sweep.yaml`
        words = [f"config={words[0]}", *words[1:]]
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    places = {"model": resolve_model(job.model), "pairs": located(job.pairs, "pairs")}
    baked = {
        name: {part: resolve_path(url, f"baked.{name}.{part}") for part, url in sets.items()}
        for name, sets in job.baked.items()
    }
    places |= {"baked": baked} | {name: resolve_path(getattr(job, name), name) for name in ("train", "test", "out")}
    job = settings.replaced(job, places)
    rows = sweep(job, partial(_spread, "local" in command.flags) if job.workers else run_here)
    print(text_of(job, rows))
    print(f"[probe] wrote {job.out}/table.txt and table.json", flush=True)


def _spread(local: bool, job: ProbeJob, trials: Sequence[Trial]) -> Iterator[tuple[Trial, list[Row]]]:
    """Trials as Ray tasks, `workers` at once.

    Raises:
        ConfigError: no cluster, or too few free resources.
    """
    if not trials:
        return
    import ray

    number = min(job.workers, len(trials))
    asked = job.cpus_per_worker, job.gpus_per_worker
    each = cluster.claim_workers(number, *asked, "probe worker(s)", local=local)
    options: dict[str, Any] = {"num_cpus": each["CPU"], "num_gpus": each.get("GPU"), "max_retries": 2}
    task = ray.remote(**options)(_trial)
    waiting, running = list(trials), dict[Any, Trial]()
    while waiting or running:
        while waiting and len(running) < number:
            trial = waiting.pop(0)
            running[task.remote(settings.to_plain(job), trial)] = trial
        finished, _ = ray.wait(list(running))
        for reference in finished:
            yield running.pop(reference), ray.get(reference)


def _trial(plain: dict[str, Any], trial: Trial) -> list[Row]:
    """On a worker."""
    job = settings.bind(ProbeJob, plain)
    return rows_of(job, None if trial.baked else load(job), trial)


if __name__ == "__main__":
    program.main("jobs.probe")
