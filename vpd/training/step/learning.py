"""One optimiser step, which waits for nothing and does nothing where a number is not finite.

Owns the order forward, backward, clipping, noise, update, average, schedule, and what dropout draws from. Where a batch
comes from and what is told of a step is left to `vpd.training.run`.
"""

from __future__ import annotations

import torch
from torch import nn

from shards.reading.batch import SampleBatch
from vpd.model.device_batch import DeviceBatch
from vpd.tasks import Learned
from vpd.training.settings import TrainConfig
from vpd.training.step.averaging import WeightAverage
from vpd.training.step.finite import FiniteWatch
from vpd.training.step.gradient_noise import add_noise
from vpd.training.step.gradients import Autocast, backward
from vpd.training.step.graphs import GraphedPasses, check_graphs, recorder_on
from vpd.training.worker import Worker


class LearningStep:
    """The steps of a run on one worker.

    Args:
        model: with the weights that learn.
        wrapped: the same, as several workers pass it.
        average: of the weights, if the run has one.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: Learned,
        worker: Worker,
        model: nn.Module,
        wrapped: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        average: WeightAverage | None,
        watch: FiniteWatch,
        autocast: Autocast,
    ) -> None:
        self.config, self.task, self.worker = config, task, worker
        self.model, self.wrapped, self.optimizer, self.scheduler = model, wrapped, optimizer, scheduler
        self.average, self.watch, self.autocast = average, watch, autocast
        self.graphed: GraphedPasses | None = None
        check_graphs(config, worker.world)
        if config.loop.cuda_graphs:
            self.graphed = GraphedPasses(model, self._passes, recorder_on(worker.device))

    def take(self, step: int, raw: SampleBatch, batch: DeviceBatch, *, measured: bool) -> torch.Tensor | None:
        """Learn from a batch.

        Args:
            step: that are finished.
            raw: this worker's share of the batch as it was read, `batch` the same on the device.
            measured: whether somebody asks for the length of the gradient.

        Returns:
            The length of all gradients together before they were clipped, []; None if nobody asks.
        """
        self.watch.before_step()
        seed = _step_seed(self.config.loop.seed, step, self.worker.rank)  # dropout is of the position
        share = len(raw) * self.worker.world / self.config.data.batch_size
        loss = self.graphed(batch, seed) if self.graphed else self._passes(batch, seed, share)
        skipped = self.watch.after_backward(step + 1, loss, raw.records)
        self.optimizer.found_inf = skipped  # pyright: ignore[reportAttributeAccessIssue]
        norm = self._clipped(measured)
        if eta := self.config.optim.gradient_noise:
            add_noise(self._gradients(), eta, self.config.loop.seed, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.after_step(step + 1, skipped)
        self.scheduler.step()
        return norm

    def _passes(self, batch: DeviceBatch, seed: int | None = None, share: float = 1.0) -> torch.Tensor:
        """Forward and backward pass; the arguments are those of `backward`."""
        return backward(
            self.wrapped,
            self.task,
            batch,
            self.worker,
            autocast=self.autocast,
            micro_batch=self.config.data.micro_batch_size,
            seed=seed,
            share=share,
        )

    def _clipped(self, measured: bool) -> torch.Tensor | None:
        """Shorten all gradients together to `optim.clip_norm`."""
        limit = self.config.optim.clip_norm
        if not limit and not measured:
            return None
        norm = torch.nn.utils.get_total_norm(self._gradients())  # []
        if limit:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), limit, norm)
        return norm

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]


def _step_seed(seed: int, step: int, rank: int) -> int:
    # Three odd multipliers keep neighbouring (step, rank) pairs apart; 63 bits is what manual_seed takes.
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**63
