"""Training in the process that asks for it: a worker of a cluster, a command without one, a notebook.

Owns what surrounds the loop on every process: threads, parts, where checkpoints and logs go. The loop itself is
`vpd.training.loop`, which processes there are `jobs.train`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins, settings
from diffusion_perception.assembly.run import build_parts
from diffusion_perception.changed_settings import check_unchanged
from diffusion_perception.devices import cpu_threads
from shards.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffusion_perception.train_job import TrainJob
    from shards.reading.reader import StoredRecord
    from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
    from vpd.training.telemetry.log import RunLog
    from vpd.training.trackers import Tracker
    from vpd.training.worker import Worker


def train(
    job: TrainJob,
    worker: Worker | None = None,
    *,
    wrap: Callable[[Any], Any] = lambda model: model,
    report: Callable[[Checkpoint | None, Mapping[str, float]], None] = lambda checkpoint, metrics: None,
    asked_to_end: Callable[[], bool] = lambda: False,
) -> Mapping[str, float]:
    """Train, or go on where the run's folder ends; returns the last validation's metrics and `loss`.

    Args:
        job: its paths must be absolute or URLs where other processes share them (`train_job.placed`).
        worker: who this process is; by default the only one, on CUDA if there is some.
        wrap: makes the model a part of a group of workers, e.g. DDP.
        report: is told every checkpoint, as its writing begins, with its evaluation if there was one.
        asked_to_end: whether the run should save and end now; it is asked between steps.

    Raises:
        Interrupted: it was asked to end early, and can go on from where it saved.
        ContractError: sets, settings or weights that do not fit together.
    """
    import torch

    from vpd.training import loop
    from vpd.training.checkpoints.checkpoint import CheckpointStore
    from vpd.training.resume import resumable
    from vpd.training.telemetry.log import RunLog
    from vpd.training.worker import Worker

    worker = worker or Worker(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    with cpu_threads(worker.device, job.run.cpus_per_worker):
        parts = build_parts(job, worker.device)
        store = CheckpointStore(job.folder)
        latest = resumable(store, parts.train_set.manifest, job.data.batch_size)
        if latest:
            check_unchanged(job, store, latest)
        log = None
        if worker.rank == 0:
            log = RunLog(job.folder, resume_step=latest.step if latest else 0, echo=_say)
        try:
            if log and job.loop.pictures and parts.val_set:  # nobody else draws
                parts.canvas = _canvas_of(job.loop.pictures_from, log)
            if log and job.run.track:
                log.track(_tracker_of(job, store, log))
            return loop.train(
                job.training,
                parts,
                worker,
                store,
                log,
                wrap=wrap,
                report=report,
                asked_to_end=asked_to_end,
                resolved=settings.to_plain(job),
            )
        finally:
            if log:
                log.close()


def _canvas_of(folder: str, log: RunLog) -> Callable[[StoredRecord], np.ndarray]:
    """What predictions are drawn on. A folder that this machine lacks is said and keeps no run from its training."""
    from diffusion_perception.canvases import canvas_of

    try:
        return canvas_of(folder)
    except ConfigError as error:
        log.say(f"loop.pictures_from: {error}")
        return canvas_of("")


def _tracker_of(job: TrainJob, store: CheckpointStore, log: RunLog) -> Tracker:
    from vpd.training.trackers import AboutRun, identity_of

    about = AboutRun(job.run.name, identity_of(store.fs, store.root), log.folder, settings.to_plain(job))
    return plugins.build_plugin(plugins.TRACKERS, job.run.track, "run.track", about)


def _say(text: str) -> None:
    # Ray Train patches `print` to log every line a second time.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
