#!/usr/bin/env python3
"""Evaluate a trained run on any number of shard sets, on 1..N workers, each record exactly once.

    ray job submit -- jobs/evaluate.py run=runs/refer
    ray job submit -- jobs/evaluate.py run=runs/refer sets=[data/shards/refcoco-unc-testA] workers=4 checkpoint=best

Prints one row a set and writes `<run>/evaluation-step-N.json`. Owns placement: plain Ray actors, since evaluation needs
no collectives; worker r of w takes every w-th record, and the driver joins the metric states and checks their count
against the manifest. The pass itself is `vpd.inference.evaluate`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from jobs import cluster, program
from jobs.command_line import CommandLine
from shards.errors import ConfigError
from shards.progress import EVERY_S, Progress


@dataclass(frozen=True)
class EvaluateJob:
    """Settings of an evaluation."""

    run: str  # folder of a training run: its checkpoints carry the model's configuration
    sets: tuple[str, ...] = ()  # shard sets; empty = the run's data.val
    checkpoint: str = "best"  # best, last, or a step number
    workers: int = 1  # processes among which the records are divided
    batch_size: int = 0  # samples per forward; 0 = the run's data.eval_batch_size
    limit: int = 0  # > 0: only the first so many records of each set
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1  # CPUs that the scheduler reserves; threads of a worker without GPU
    export: str = ""  # folder for every prediction, in the format of the benchmark's labels: <export>/<set>/
    out: str = ""  # JSON file of the results; empty = <run>/evaluation-step-N.json


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
    results = evaluate(job, local="local" in command.flags)
    print(table(results), flush=True)


def evaluate(job: EvaluateJob, local: bool = False) -> dict[str, Any]:
    """Run the evaluation; returns {"step", "checkpoint", "sets": {name: metrics}} and writes it as JSON.

    Raises:
        ConfigError: nothing to evaluate, no cluster, or too few free resources.
        ContractError: no finished checkpoint, or a set was not covered exactly once.
    """
    import ray
    import torch

    from diffusion_perception.trained import load_trained
    from shards.reading.reader import ShardSet
    from vpd.inference.evaluate import check_count

    trained = load_trained(job.run, job.checkpoint, torch.device("cpu"))  # here too: a bad run fails before a worker
    task, names = trained.task, trained.class_names
    sets = job.sets or ((trained.data.val,) if trained.data.val else ())
    if not sets:
        raise ConfigError(f"{job.run} names no data.val: say which sets to evaluate, sets=[PATH, ...].")
    opened = {url: ShardSet.open(url) for url in sets}  # a damaged or missing set fails here, before any worker starts
    cluster.connect(local)
    gpus = job.gpus_per_worker if job.gpus_per_worker >= 0 else float(cluster.has_gpus())
    cluster.check_free(
        {"CPU": job.cpus_per_worker * job.workers, "GPU": gpus * job.workers},
        f"{job.workers} evaluation worker(s) of {job.cpus_per_worker:g} CPU and {gpus:g} GPU",
    )
    # Two threads: `progress` must answer while a pass runs.
    options: dict[str, Any] = {"num_cpus": job.cpus_per_worker, "num_gpus": gpus, "max_concurrency": 2}
    actor = ray.remote(**options, max_restarts=2, max_task_retries=2)(EvaluateActor)
    workers = [actor.remote(job.run, job.checkpoint, job.cpus_per_worker) for _ in range(job.workers)]
    results: dict[str, Any] = {"run": job.run, "step": trained.step, "checkpoint": trained.where, "sets": {}}
    for url, shards in opened.items():
        parts = [
            worker.evaluate.remote(
                url, rank, job.workers, job.batch_size or trained.data.eval_batch_size, job.limit, job.export
            )
            for rank, worker in enumerate(workers)
        ]
        records = Progress(min(job.limit, shards.n_records) if job.limit else shards.n_records, "records")
        while ray.wait(parts, num_returns=len(parts), timeout=EVERY_S)[1]:
            done = sum(ray.get([worker.progress.remote() for worker in workers]))
            print(f"[evaluate] {shards.manifest.name}: {records.text(done)}", flush=True)
        metric = task.new_metric().joined(ray.get(parts))
        if not job.limit:
            check_count(metric, task, shards)
        results["sets"][shards.manifest.name] = {"samples": metric.count, **metric.compute()}
        print(f"[evaluate] {shards.manifest.name}: done", flush=True)
        if table_of_classes := task.report(metric, names):
            print(table_of_classes, flush=True)
    _write(job.out or f"{job.run}/evaluation-step-{trained.step}.json", results)
    return results


def table(results: dict[str, Any]) -> str:
    """One row a set, one column a metric."""
    columns = list(next(iter(results["sets"].values())))
    width = max(len(name) for name in results["sets"])
    lines = [f"{results['checkpoint']}", " " * width + "".join(f"{c:>10}" for c in columns)]
    for name, metrics in results["sets"].items():
        cells = (f"{metrics[c]:>10d}" if isinstance(metrics[c], int) else f"{metrics[c]:>10.4f}" for c in columns)
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)


class EvaluateActor:
    """One process with the model loaded once."""

    def __init__(self, run: str, which: str, cpus: float) -> None:
        import torch

        from diffusion_perception.trained import load_trained

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cpu":
            torch.set_num_threads(max(int(cpus), 1))
        self.trained = load_trained(run, which, self.device)
        self.scored = 0

    def evaluate(self, url: str, rank: int, world: int, batch_size: int, limit: int, export: str) -> Any:
        from diffusion_perception.assemble import open_set
        from vpd.inference.evaluate import evaluate
        from vpd.training.loop import autocast_of

        self.scored = 0
        shards = open_set(url, self.trained.data, rank)
        metric = evaluate(
            self.trained.model,
            self.trained.task,
            shards,
            rank=rank,
            world=world,
            batch_size=batch_size,
            device=self.device,
            encoders=self.trained.encoders_for(shards.manifest),
            autocast=autocast_of(self.trained.precision, self.device),
            text=self.trained.data.text,
            limit=limit,
            progress=self._note,
            on_record=_exporter(self.trained.task, Path(export, shards.manifest.name)) if export else None,
        )
        return metric.state

    def progress(self) -> int:
        """Records scored so far in the pass that runs."""
        return self.scored

    def _note(self, scored: int, total: int) -> None:
        self.scored = scored


def _exporter(task: Any, folder: Path) -> Any:
    """Writes each prediction of a record as <key>.png, or <key>-<n>.png where a record has several; .json for pose."""
    folder.mkdir(parents=True, exist_ok=True)

    def export(record: Any, outputs: Any) -> None:
        predictions = task.predictions(record, outputs).numpy()
        for number, prediction in enumerate(predictions):
            suffix = f"-{number:03d}" if len(predictions) > 1 else ""
            task.export(prediction, folder / f"{record.key}{suffix}{task.export_suffix}")

    return export


def _write(path: str, results: dict[str, Any]) -> None:
    import fsspec

    with fsspec.open(path, "w") as file:
        json.dump(results, file, indent=1)  # type: ignore[arg-type]
    print(f"[evaluate] wrote {path}")


if __name__ == "__main__":
    program.main("jobs.evaluate")
