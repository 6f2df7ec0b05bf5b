"""What a run keeps of itself: its checkpoints, written beside the steps and read where it begins or rolls back.

Owns what goes into one (weights, moments, average, settings) and which remain. When one is due is `vpd.training.run`'s,
how it is written `vpd.training.checkpoints.writer`'s, what is fitting to go on from `vpd.training.resume`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.checkpoints.writer import CheckpointWriter
from vpd.training.circumstances import circumstances
from vpd.training.feeding import Parts
from vpd.training.resume import contents, restore_run
from vpd.training.settings import TrainConfig
from vpd.training.step.averaging import WeightAverage
from vpd.training.step.sharded import own_share, whole_state
from vpd.training.telemetry.log import RunLog
from vpd.training.worker import Worker


class Keeping:
    """The checkpoints of a run on one worker.

    Args:
        average: of the weights, if the run has one.
        resolved: the whole configuration as plain data, saved into every checkpoint.
    """

    def __init__(
        self,
        config: TrainConfig,
        parts: Parts,
        worker: Worker,
        store: CheckpointStore,
        log: RunLog | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        resolved: Mapping[str, Any],
    ) -> None:
        self.config, self.parts, self.worker, self.store, self.log = config, parts, worker, store, log
        self.model, self.optimizer, self.average, self.resolved = model, optimizer, average, resolved
        self.writer = CheckpointWriter(store, self._prune, self._say, log.bring_to_safety if log else lambda: None)

    def begin(self) -> int:
        """Take up the newest sound checkpoint and clear away what was left half-written; returns its step, or 0."""
        step = self.restore()
        if self.log and self.log.begun_at != step:
            self.log.rewind(step)  # newer checkpoints turned out to be damaged
        if self.worker.rank == 0:
            self.store.sweep()
        return step

    def restore(self) -> int:
        """Take up the newest sound checkpoint; returns its step, or 0 without any."""
        step = restore_run(
            self.store,
            self.model,
            self.optimizer,
            self.parts.train_set.manifest,
            self.config.data.batch_size,
            say=self._say,
            average=self.average,
            worker=self.worker,
        )
        own_share(self.optimizer)
        return step

    def save(self, step: int, scored: Mapping[str, float]) -> Checkpoint | None:
        """Begin to write a checkpoint, on the first worker; all have to come along."""
        with whole_state(self.optimizer):
            if self.worker.rank:
                return None
            about = {
                "config": dict(self.resolved),
                "class_names": self.parts.class_names,
                "environment": circumstances(self.worker),
            }
            manifest, batch_size = self.parts.train_set.manifest, self.config.data.batch_size
            kept = contents(step, self.model, self.optimizer, manifest, batch_size, about, self.average)
            return self.writer.begin(step, *kept, scored)

    def _prune(self) -> None:
        task = self.parts.task
        self.store.prune(self.config.loop.keep_last, task.metric_name, higher_is_better=task.higher_is_better)

    def _say(self, text: str) -> None:
        if self.log:
            self.log.say(text)
