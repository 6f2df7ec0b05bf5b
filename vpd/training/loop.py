"""Training, from its parts to its end: restore, then step after step (`vpd.training.run`).

Owns what a run is given and what it promises. Position is one integer, the optimiser step: the stream, the drawn
sentences, the learning rate and the random state are all functions of it, so resuming is arithmetic
(docs/methods/training.md#position). There is no synchronisation with the device between two logged steps.
What a checkpoint holds is `vpd.training.resume`'s, how it is written beside the next steps
`vpd.training.checkpoints.writer`'s; placement and restarts are left to `jobs.train`, which hands in a `Worker` and a
`report` function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.feeding import Parts
from vpd.training.run import Run
from vpd.training.settings import TrainConfig
from vpd.training.step.determinism import same_bits
from vpd.training.step.garbage import old_objects_apart
from vpd.training.step.numerics import arithmetic_of
from vpd.training.telemetry.log import RunLog
from vpd.training.worker import Worker


def train(
    config: TrainConfig,
    parts: Parts,
    worker: Worker,
    store: CheckpointStore,
    log: RunLog | None,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    report: Callable[[Checkpoint | None, Mapping[str, float]], None] = lambda checkpoint, metrics: None,
    asked_to_end: Callable[[], bool] = lambda: False,
    resolved: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Train to the end of the schedule, resuming from the newest finished checkpoint in `store`.

    Args:
        log: the run's log on rank 0, None elsewhere.
        wrap: puts the model under data parallelism (DDP); identity for one worker.
        report: called on every rank once a checkpoint is about to be written.
        asked_to_end: whether to save and end now: asked after every step, on several workers where one is logged,
            evaluated or saved, so that they agree.
        resolved: the whole configuration as plain data, saved into every checkpoint.

    Returns:
        The last evaluation's metrics and `loss`, the last logged training loss.

    Raises:
        FingerprintMismatch: the run was started on another build of the training set.
        NonFinite: a loss, gradient or weight is NaN or infinite, and `loop.nonfinite` says to stop, or nothing else
            helps.
        NotSaved: the last checkpoint could not be written.
        Interrupted: the run was asked to end, and saved where it was.
    """
    with arithmetic_of(config.loop.precision), same_bits(config.loop.deterministic, worker.device):
        run = Run(config, parts, worker, store, log, wrap, report, asked_to_end, resolved or {})
        run.introduce()
        try:
            with old_objects_apart():
                run.to_the_end()
        except BaseException:
            run.keeping.writer.wait()  # what was begun is finished, whatever ended the training
            raise
        run.keeping.writer.close()
        return run.results
