"""Evaluation of a trained run on shard sets, each record exactly once, in one process or several.

Owns one process's part of a set, how the parts are joined and checked against the manifest, and the table and file of
the scores. The pass itself is `vpd.inference.evaluate`; which processes there are is `jobs.evaluate`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_perception.devices import cpu_threads
from diffusion_perception.predicting.outputs import check_writable
from diffusion_perception.train_job import check_workers
from shards.errors import ConfigError
from shards.progress import reports
from shards.storage.staging import staging_folder
from shards.storage.storage import open_folder

if TYPE_CHECKING:
    from diffusion_perception.trained import Trained
    from shards.reading.reader import ShardSet
    from shards.storage.options import StorageOptions

# The metric's states of all parts of a set: (url, opened set, tag of what is said meanwhile) -> one state a part.
Parts = Callable[[str, "ShardSet", str], list[Any]]


@dataclass(frozen=True)
class EvaluateJob:
    """Settings of an evaluation."""

    run: str  # folder of a training run: its checkpoints carry the model's configuration
    sets: tuple[str, ...] = ()  # shard sets; empty = the run's data.val
    checkpoint: str = "best"  # best, last, or a step number
    workers: int = 1  # 0: evaluate in the process of the command itself, which needs no cluster
    batch_size: int = 0  # samples per forward; 0 = the run's data.eval_batch_size
    limit: int = 0  # > 0: only the first so many records of each set
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1  # CPUs that the scheduler reserves; threads of a worker without GPU
    export: str = ""  # folder for every prediction, in the format of the benchmark's labels: <export>/<set>/
    out: str = ""  # JSON file of the results; empty = <run>/evaluation-step-N.json, of a model from elsewhere: none

    def __post_init__(self) -> None:
        check_workers(self.workers, self.gpus_per_worker, self.cpus_per_worker)


def evaluate(job: EvaluateJob, place: Callable[[], Parts] | None = None) -> dict[str, Any]:
    """Run the evaluation; returns {"run", "step", "checkpoint", "sets": {name: metrics}} and writes it as JSON.

    Args:
        job: its paths must be absolute or URLs where other processes share them.
        place: starts other processes for the parts, once run and sets are known to be readable; by default this
            process does it all.

    Raises:
        ConfigError: nothing to evaluate.
        ContractError: no finished checkpoint, or a set was not covered exactly once.
    """
    import torch

    from diffusion_perception.assembly.sets import open_set
    from diffusion_perception.trained import load_trained
    from vpd.inference.evaluate import check_count

    _check_outputs(job)
    here = None if place else Evaluator(job)
    # Loaded here in any case: a bad run fails before a worker starts.
    trained: Trained = here.trained if here else load_trained(job.run, job.checkpoint, torch.device("cpu"))
    task, names = trained.task, trained.class_names
    sets = job.sets or ((trained.data.val,) if trained.data.val else ())
    if not sets:
        raise ConfigError(f"{job.run} names no data.val: say which sets to evaluate, sets=[PATH, ...].")
    chosen = None if job.sets else trained.data.val_subset
    opened = {url: open_set(url, trained.data, chosen) for url in sets}  # so does a damaged or missing set
    parts = here.parts if here else place()  # pyright: ignore[reportOptionalCall]
    results: dict[str, Any] = {"run": job.run, "step": trained.step, "checkpoint": trained.where, "sets": {}}
    results["averaged"] = trained.averaged
    results["fingerprints"] = {shards.manifest.name: shards.manifest.fingerprint for shards in opened.values()}
    for url, shards in opened.items():
        tag = f"[evaluate] {shards.manifest.name}:"
        metric = task.new_metric().joined(parts(url, shards, tag))
        if not job.limit:
            check_count(metric, task, shards)
        results["sets"][shards.manifest.name] = {"samples": metric.count, **metric.compute()}
        print(f"{tag} done", flush=True)
        if table_of_classes := task.report(metric, names):
            print(table_of_classes, flush=True)
    if job.limit:
        results["limit"] = job.limit
    if job.out or trained.home == job.run:
        _write(job.out or f"{job.run}/evaluation-step-{trained.step}.json", results, trained.data.storage)
    else:  # a copy of what was published, which nothing is added to, here or there
        print("[evaluate] wrote no file: the model is a published one; name a file, out=FILE", flush=True)
    return results


def table(results: dict[str, Any]) -> str:
    """One row a set, one column a metric that any of them has; `-` where a set lacks it or it is over nothing."""
    columns = list(dict.fromkeys(name for metrics in results["sets"].values() for name in metrics))
    width = max(len(name) for name in results["sets"])
    widths = [max(10, len(column) + 2) for column in columns]
    lines = [
        f"{results['checkpoint']}{', averaged weights' if results.get('averaged') else ''}",
        " " * width + "".join(f"{c:>{w}}" for c, w in zip(columns, widths, strict=True)),
    ]
    for name, metrics in results["sets"].items():
        cells = (f"{_cell(metrics.get(c)):>{w}}" for c, w in zip(columns, widths, strict=True))
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


class Evaluator:
    """One process with the model loaded once: a worker's, or the command's own."""

    def __init__(self, job: EvaluateJob) -> None:
        import torch

        from diffusion_perception.trained import load_trained

        self.job = job
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.trained = load_trained(job.run, job.checkpoint, self.device)
        self.scored = 0

    def part(self, url: str, rank: int = 0, progress: Callable[[int, int], None] | None = None) -> Any:
        """The metric's state after this process's part of a set."""
        from diffusion_perception.assembly.sets import open_set
        from vpd.inference.evaluate import evaluate
        from vpd.training.step.numerics import autocast_of

        self.scored = 0
        data = self.trained.data
        shards = open_set(url, data, None if self.job.sets else data.val_subset)
        export = self.job.export
        with cpu_threads(self.device, self.job.cpus_per_worker):
            metric = evaluate(
                self.trained.model,
                self.trained.task,
                shards,
                rank=rank,
                world=max(self.job.workers, 1),
                batch_size=self.job.batch_size or self.trained.data.eval_batch_size,
                device=self.device,
                encoders=self.trained.encoders_for(shards.manifest),
                autocast=autocast_of(self.trained.precision, self.device),
                text=self.trained.data.text,
                vision=self.trained.model.reads_vision,
                limit=self.job.limit,
                progress=progress or self._note,
                on_record=self._exporter(f"{export}/{shards.manifest.name}") if export else None,
            )
        return metric.state

    def progress(self) -> int:
        """Records scored so far in the pass that runs."""
        return self.scored

    def _note(self, scored: int, total: int) -> None:
        self.scored = scored

    def _exporter(self, place: str) -> Any:
        """Writes each prediction of a record as <key>.png, or <key>-<n>.png where a record has several; .json for
        pose."""
        task, folder = self.trained.task, open_folder(place, storage_options=self.trained.data.storage)
        if not folder.is_remote:
            Path(place).mkdir(parents=True, exist_ok=True)

        def export(record: Any, outputs: Any) -> None:
            answers = list(task.answers(record, outputs))
            for number, answer in enumerate(answers):
                suffix = f"-{number:03d}" if len(answers) > 1 else ""
                name = f"{record.key}{suffix}{task.export_suffix}"
                if not folder.is_remote:
                    task.export(answer, Path(place, name))
                    continue
                with staging_folder() as here:
                    task.export(answer, here / name)
                    folder.write(name, (here / name).read_bytes())

        return export

    def parts(self, url: str, shards: ShardSet, tag: str) -> list[Any]:
        """The whole set as one part, with a word every few seconds."""
        return [self.part(url, progress=reports(tag, "records"))]


def _check_outputs(job: EvaluateJob) -> None:
    """That the local outputs can be written, before anything is computed; ConfigError: one cannot."""
    if job.out and "://" not in job.out:
        check_writable(Path(job.out), "out")
    if job.export and "://" not in job.export:
        try:
            Path(job.export).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"export={job.export}: the folder cannot be made ({error.strerror or error}).") from error


def _write(path: str, results: dict[str, Any], storage_options: StorageOptions) -> None:
    """One JSON file, at a path or URL."""
    # A score over nothing is null there: JSON knows no NaN.
    sets = {
        name: {score: None if value != value else value for score, value in scores.items()}
        for name, scores in results["sets"].items()
    }
    folder, _, name = path.rpartition("/")
    payload = json.dumps({**results, "sets": sets}, indent=1, allow_nan=False).encode()
    open_folder(folder or ".", storage_options=storage_options).write(name, payload)
    print(f"[evaluate] wrote {path}")
