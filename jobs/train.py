#!/usr/bin/env python3
"""Train a task from a shard set, on 1..N Ray Train workers.

    ray job submit -- jobs/train.py --task refer                       (head started in the repository)
    ray job submit --working-dir . -- python jobs/train.py --task refer run.out=/shared/runs ...   (any cluster)

`--task NAME` takes configs/train/NAME.yaml, `--config FILE` any file; further words are settings (`optim.lr=1e-4`).
`--dry-run` prints the resolved configuration and the plan. The same command again resumes the run.

Owns placement (TorchTrainer, DDP), resource checks and restarts after a lost worker; the loop itself is `vpd.loop`.
Checkpoints go to storage by our own store, not through Ray: a controller that dies takes its memory of the newest one
along (ray.md section 5), and our marker files say what is finished without it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from jobs import cluster, config
from jobs.parts import build_parts, check_sets
from shards.errors import ConfigError, ContractError
from vpd.config import DataConfig, LoopConfig, ModelConfig, OptimConfig, Plugin, TrainConfig

_PARTNER_GONE = re.compile(r"connection (closed|reset) by peer|broken pipe", re.IGNORECASE)


@dataclass(frozen=True)
class EncoderConfig:
    """Where the frozen encoders come from, for what a set does not store. Empty: the backbone's model."""

    model: str = ""
    revision: str = ""
    dtype: str = "float32"


@dataclass(frozen=True)
class RunConfig:
    """Where the run is kept and what each worker gets."""

    name: str
    out: str = "runs"  # folder or URL every node can reach; the run is <out>/<name>
    workers: int = 1
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1
    max_failures: int = 3  # restarts after a lost worker before the job fails


@dataclass(frozen=True)
class TrainJob:
    """configs/train/*.yaml."""

    run: RunConfig
    task: Plugin
    backbone: Plugin
    data: DataConfig
    encoders: EncoderConfig = field(default_factory=EncoderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    predict_views: Plugin = field(default_factory=dict)  # how jobs/predict.py cuts an image; empty: as the task says

    @property
    def training(self) -> TrainConfig:
        return TrainConfig(self.task, self.backbone, self.data, self.model, self.optim, self.loop)

    @property
    def folder(self) -> str:
        return f"{self.run.out.rstrip('/')}/{self.run.name}"


def read(command: config.CommandLine) -> TrainJob:
    """The job's settings from its command line; data paths are made absolute."""
    task, command = command.take("task")
    method, command = command.take("method")
    path = command.config
    if not path:
        if not task:
            raise ConfigError("say what to train: --task refer (configs/train/refer.yaml), or --config FILE.")
        path = f"configs/train/{task}_{method}.yaml" if method else f"configs/train/{task}.yaml"
    data = config.load(path, command.overrides)
    named = data.get("task", {})
    named = named.get("name") if isinstance(named, Mapping) else named
    if task and named != task:
        raise ConfigError(f"--task {task} does not go with {path}, whose task is {named!r}. Give one of the two.")
    job = config.build(TrainJob, data)
    place = cluster.resolve_path
    return config.replaced(
        job,
        {
            "run.out": place(job.run.out, "run.out"),
            "data.train": place(job.data.train, "data.train"),
            "data.val": place(job.data.val, "data.val"),
            "model.init": place(job.model.init, "model.init"),
            "data.table": place(job.data.table, "data.table"),
            "data.source": cluster.located(job.data.source, "data.source"),
            "backbone": cluster.located(job.backbone, "backbone"),
            "encoders.model": cluster.resolve_model(job.encoders.model),
        },
    )


def run(words: list[str]) -> None:
    command = config.CommandLine.parse(words, flags=("dry-run", "local"))
    job = read(command)
    manifest = check_sets(job)
    total = job.loop.total_steps(manifest.counts["items"], job.data.batch_size)
    print(config.spelled_out(job))
    print(
        f"plan: {manifest.name}: {manifest.counts['items']} items, {total} steps of {job.data.batch_size} "
        f"on {job.run.workers} worker(s); run folder {job.folder}",
        flush=True,
    )
    if "dry-run" in command.flags:
        return
    fit(job, local="local" in command.flags)


def fit(job: TrainJob, local: bool = False) -> Mapping[str, Any]:
    """Place the workers and train; returns the last reported metrics.

    Raises:
        ConfigError: no cluster, or too few free resources for the workers.
        ray.train.TrainingFailedError: a worker failed more often than run.max_failures.
    """
    from ray import train
    from ray.train.torch import TorchTrainer

    cluster.connect(local)
    gpus = job.run.gpus_per_worker if job.run.gpus_per_worker >= 0 else float(cluster.has_gpus())
    resources = {"CPU": job.run.cpus_per_worker, **({"GPU": gpus} if gpus else {})}
    needed = {k: v * job.run.workers for k, v in resources.items()}
    cluster.check_free(needed, f"{job.run.workers} training worker(s) of {resources}")
    trainer = TorchTrainer(
        _worker_loop,
        train_loop_config={"job": config.to_plain(job)},
        scaling_config=train.ScalingConfig(
            num_workers=job.run.workers, use_gpu=gpus > 0, resources_per_worker=resources
        ),
        run_config=train.RunConfig(
            name=job.run.name,
            storage_path=job.run.out,
            failure_config=train.FailureConfig(max_failures=0),
        ),
    )
    for restarts_left in range(job.run.max_failures, -1, -1):
        try:
            return trainer.fit().metrics or {}
        except train.WorkerGroupError as error:
            # Ray would restart after any error. One of ours, or of the code, comes again; a lost process does not.
            raised = [getattr(failure, "_base_exc", None) for failure in error.worker_failures.values()]
            if known := next((cause for cause in raised if isinstance(cause, ContractError)), None):
                raise known from None
            if not all(map(is_lost_worker, raised)) or not restarts_left:
                raise
            print(
                f"[train] lost a worker; going on from the newest checkpoint ({restarts_left} restarts left)",
                flush=True,
            )
    raise AssertionError("unreachable: the last attempt returns or raises")


def is_lost_worker(raised: BaseException | None) -> bool:
    """Whether a worker failed because a process is gone: it raised nothing itself, or its partner went away.

    The partners of a worker that raised an error of its own fail like this, too, so what counts is that all did.
    """
    return raised is None or type(raised).__name__ == "DistBackendError" or bool(_PARTNER_GONE.search(str(raised)))


def _worker_loop(arguments: dict[str, Any]) -> None:
    """What runs on every worker."""
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    from vpd.checkpoint import Checkpoint, CheckpointStore
    from vpd.log import RunLog
    from vpd.loop import train as train_loop
    from vpd.worker import Worker

    job = config.build(TrainJob, arguments["job"])
    context = train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), torch.device(get_device()))
    if worker.device.type == "cpu":
        torch.set_num_threads(max(int(job.run.cpus_per_worker), 1))
    parts = build_parts(job, worker.device, worker.rank)
    store = CheckpointStore(job.folder)
    latest = store.latest()
    log = None
    if worker.rank == 0:
        # TensorBoard and JSONL need a file system; for a URL they stay in the worker's folder, beside Ray's own logs.
        folder = job.folder if "://" not in job.folder else os.path.join(os.getcwd(), "log")
        log = RunLog(folder, resume_step=latest.step if latest else 0, echo=_say)

    def report(checkpoint: Checkpoint | None, metrics: Mapping[str, float]) -> None:
        # Numbers only: Ray would remember the checkpoint, and refuse the next start once our store has pruned it.
        train.report({**metrics, "step": checkpoint.step} if checkpoint else dict(metrics))

    ddp = {"gradient_as_bucket_view": True} if worker.world > 1 else None
    try:
        train_loop(
            job.training,
            parts,
            worker,
            store,
            log,
            wrap=lambda model: prepare_model(model, parallel_strategy_kwargs=ddp),
            report=report,
            resolved=config.to_plain(job),
        )
    finally:
        if log:
            log.close()


def _say(text: str) -> None:
    # Ray Train patches `print` to log every line a second time.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cluster.main("jobs.train")
