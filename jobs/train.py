#!/usr/bin/env python3
"""Train a task from a shard set, on 1..N Ray Train workers.

    ray job submit -- jobs/train.py --task refer                       (head started in the repository)
    ray job submit --working-dir . -- python jobs/train.py --task refer run.out=/shared/runs ...   (any cluster)

`--task NAME` takes configs/train/NAME.yaml, `--config FILE` any file, `--card 24gb` lays what fits such a GPU over it;
further words are settings (`optim.lr=1e-4`).
The run is assembled without weights first, and refused there if a worker would refuse it (`forecast.training`);
`--dry-run` ends with that, without Ray: configuration, steps, parameters, bytes, shapes. The same command again resumes
the run; with other settings it lists what changed and refuses, unless `--allow-changed` says to go on with them.
`run.workers=0` trains in this very process, without a cluster. SIGTERM saves and ends, with exit status 143.

With `run.min_workers` a run goes on with fewer workers where machines are lost, on the same batches, and grows back.

Owns the workers (TorchTrainer, DDP) and restarts after a lost one; what they ask of the cluster is `jobs.placement`'s,
what each process does `diffusion_perception.training`'s. Checkpoints go to storage by our own store, not through Ray: a
controller that dies takes its memory of the newest one along (docs/methods/ray.md#checkpoints-of-ray-train), and our
marker files say what is finished without it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings, training
from diffusion_perception.forecast.figures import lines
from diffusion_perception.forecast.training import forecast_training
from diffusion_perception.train_job import TrainJob, placed
from jobs import interruption, placement, program
from jobs.command_line import CommandLine
from shards.errors import ConfigError, ContractError, Interrupted

if TYPE_CHECKING:
    from vpd.training.worker import Worker

WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"  # a variable of the environment
ASKED_EVERY_S = 5.0
RAY_REPORTS = "ray/train/v2/_internal/execution/context.py"
_PARTNER_GONE = re.compile(r"connection (closed|reset) by peer|broken pipe", re.IGNORECASE)


JOB = TrainJob
FLAGS = {
    "dry-run": "print what would be done, and end",
    "allow-changed": "go on with the run though settings were changed since (run.allow_changed)",
    "local": "run on this machine alone, on a private cluster",
}
WORDS = {
    "task": "takes configs/train/TASK.yaml",
    "method": "takes configs/train/TASK_METHOD.yaml",
    "card": "lays configs/card/CARD.yaml over it: 12gb, 24gb, 40gb or 80gb, what fits a GPU of that memory",
}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    task, command = command.take("task")
    method, command = command.take("method")
    card, command = command.take("card")
    path = command.config
    if not path:
        if not task:
            raise ConfigError("say what to train: --task refer (configs/train/refer.yaml), or --config FILE.")
        path = f"configs/train/{task}_{method}.yaml" if method else f"configs/train/{task}.yaml"
    allowed = (("run.allow_changed", "true"),) if "allow-changed" in command.flags else ()
    fitted = f"configs/card/{card}.yaml" if card else ""
    data = settings.read_file(path, (*command.overrides, *allowed), over=fitted)
    named = settings.plugin_name(data.get("task"))
    if task and named != task:
        raise ConfigError(f"--task {task} does not go with {path}, whose task is {named!r}. Give one of the two.")
    return data


def read(command: CommandLine) -> TrainJob:
    """The job's settings from its command line; data paths are made absolute."""
    return placed(settings.bind(JOB, draft(command)))


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job, dry = read(command), "dry-run" in command.flags
    forecast = forecast_training(job, dry=dry)
    print(settings.spelled_out(job))
    for line in lines(forecast):
        print(f"plan: {line}", flush=True)
    if dry:
        return
    if job.run.workers:
        fit(job, local="local" in command.flags)
    else:
        with interruption.on_sigterm() as asked:
            training.train(job, asked_to_end=asked)


def fit(job: TrainJob, local: bool = False) -> Mapping[str, Any]:
    """Place the workers and train; returns the last reported metrics.

    Raises:
        ConfigError: no cluster, or too few free resources for the workers.
        ray.train.TrainingFailedError: a worker failed more often than run.max_failures without a checkpoint in between.
        Interrupted: the workers were asked to end (SIGTERM to this process), and saved.
    """
    resources = placement.claimed(job.run, local)
    from ray import train  # after it, since these take seconds: where there is no room, it is said at once
    from ray.train.torch import TorchTrainer

    from vpd.training.end_request import EndRequest

    # Its watcher of preempted nodes logs an error at every start where nobody preempts; set to 1, our loop asks it.
    os.environ.setdefault(WATCHER, "0")
    # Ray's own INFO repeats what the run log says, once a worker; older releases have no setting for it.
    quiet: dict[str, Any] = {}
    if hasattr(train, "LoggingConfig"):
        quiet["logging_config"] = train.LoggingConfig(log_level="WARNING")
    trainer = TorchTrainer(
        _worker_loop,
        train_loop_config={"job": settings.to_plain(job)},
        scaling_config=placement.scaling(job.run, resources),
        run_config=train.RunConfig(
            name=job.run.name,
            storage_path=job.run.out,
            failure_config=train.FailureConfig(max_failures=0),
            **quiet,
        ),
    )
    request = EndRequest(job.folder)
    request.withdraw()
    left, newest = job.run.max_failures, _newest_step(job)
    while True:
        try:
            with interruption.on_sigterm(request.make) as asked:
                return trainer.fit().metrics or {}
        except train.WorkerGroupError as error:
            # Ray would restart after any error. One of ours, or of the code, comes again; a lost process does not.
            raised = [getattr(failure, "_base_exc", None) for failure in error.worker_failures.values()]
            known = next((cause for cause in raised if isinstance(cause, ContractError)), None)
            announced = isinstance(known, Interrupted) and not asked()  # by Ray, of a node that will be taken away
            reached = _newest_step(job)
            left, newest = (job.run.max_failures if reached > newest else left), reached
            if known and not (announced and left):
                raise known from None
            if not announced and (not all(map(is_lost_worker, raised)) or not left):
                raise
            lost = "a node will be taken away" if announced else "lost a worker"
            print(f"[train] {lost}; going on from the newest checkpoint ({left} restarts left)", flush=True)
            left -= 1
        finally:
            request.withdraw()


def _newest_step(job: TrainJob) -> int:
    """Of the finished checkpoints: a run that gets further may lose a worker as often as it likes."""
    from vpd.training.checkpoints.checkpoint import CheckpointStore

    newest = CheckpointStore(job.folder).latest()
    return newest.step if newest else 0


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

    from jobs.train_gauges import TrainGauges
    from vpd.training.checkpoints.checkpoint import Checkpoint
    from vpd.training.step.exchange import ddp_options, with_hook
    from vpd.training.worker import Worker

    _hush_reports()
    context = train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), torch.device(get_device()))
    gauges = TrainGauges(arguments["job"]["run"]["name"]) if worker.rank == 0 else None

    def report(checkpoint: Checkpoint | None, metrics: Mapping[str, float]) -> None:
        if gauges:
            gauges.say(checkpoint.step if checkpoint else None, metrics)
        # Numbers only: Ray would remember the checkpoint, and refuse the next start once our store has pruned it.
        train.report({**metrics, "step": checkpoint.step} if checkpoint else dict(metrics))

    job = settings.bind(TrainJob, arguments["job"])
    exchange = job.loop.exchange
    ddp = ddp_options(exchange) if worker.world > 1 else None
    training.train(
        job,
        worker,
        wrap=lambda model: with_hook(prepare_model(model, parallel_strategy_kwargs=ddp), exchange),
        report=report,
        asked_to_end=_asked_to_end(job, worker),
    )


def _asked_to_end(job: TrainJob, worker: Worker) -> Callable[[], bool]:
    """Whether the driver was asked to end, or Ray says that a node of ours will be taken away."""
    from ray import train

    from vpd.training.end_request import EndRequest

    request, notice = EndRequest(job.folder), getattr(train, "get_preemption_info", None)
    watched = notice is not None and os.environ.get(WATCHER) == "1"
    asked_s = -ASKED_EVERY_S

    def asked() -> bool:
        nonlocal asked_s
        if worker.world == 1:  # asks after every step: not that often
            if time.monotonic() - asked_s < ASKED_EVERY_S:
                return False
            asked_s = time.monotonic()
        noticed = watched and notice is not None and notice() is not None  # every worker has to ask
        return noticed or (worker.rank == 0 and request.is_there())

    return asked


def _hush_reports() -> None:
    """Keep Ray from printing every result again, once a worker. This logger has a file's name, so the level that Ray
    Train is given does not reach it."""
    for name in list(logging.root.manager.loggerDict):
        if name.endswith(RAY_REPORTS):
            logging.getLogger(name).setLevel(logging.WARNING)


if __name__ == "__main__":
    program.main("jobs.train")
