"""Numbers that are none: a loss, a gradient or a weight that is NaN or infinite.

Owns how they are seen without waiting for the device. Each step leaves a flag there, which also tells the optimiser to
leave weights and moments as they are; the flags are read when something is logged, evaluated or saved. So an update
with such a number is never applied, whatever `loop.nonfinite` says; what happens then is left to `vpd.training.run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vpd.training.worker import Worker

SHOWN = 64  # records in a message


@dataclass(frozen=True)
class BadStep:
    """A step whose update was not applied."""

    step: int  # counted from 1, as in the log
    loss: float
    records: tuple[int, ...]  # of this worker's share of the batch

    @property
    def what(self) -> str:
        if math.isfinite(self.loss):
            return f"a gradient is not finite (the loss is {self.loss:.4g})"
        return f"the loss is {self.loss}"


class FiniteWatch:
    """Watches the steps of one worker; all workers of a run see the same."""

    def __init__(self, model: nn.Module, worker: Worker) -> None:
        self.worker = worker
        self.parameters = list(model.parameters())
        self.forgiven: set[int] = set()  # steps that are left out without a word
        self._norms = [
            stats
            for module in model.modules()
            if isinstance(module, _NormBase)
            for stats in (module.running_mean, module.running_var)
            if stats is not None
        ]
        self._before = [torch.empty_like(stats) for stats in self._norms]
        self._seen: list[tuple[int, np.ndarray]] = []
        self._flags: list[torch.Tensor] = []
        self._losses: list[torch.Tensor] = []
        self._good: list[float] = []

    def before_step(self) -> None:
        """Keep the running means of norms, which a forward pass changes."""
        for kept, stats in zip(self._before, self._norms, strict=True):
            kept.copy_(stats)

    @torch.no_grad()
    def after_backward(self, step: int, loss: torch.Tensor, records: np.ndarray) -> torch.Tensor:
        """Look at a step's loss and gradients; restores the running means if they are not finite.

        Args:
            step: that is about to finish, from 1.
            records: i64 [b], of this worker's share of the batch.

        Returns:
            float32 [], 1 where the update must not be applied: what a fused optimiser takes as `found_inf`.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        largest = torch.nn.utils.get_total_norm(gradients, norm_type=math.inf)  # a sum of squares could overflow
        bad = ~(torch.isfinite(largest) & torch.isfinite(loss.detach()))  # []
        bad = self.worker.any_of(bad)
        for kept, stats in zip(self._before, self._norms, strict=True):
            stats.copy_(torch.where(bad, kept, stats))
        self._seen.append((step, records))
        self._flags.append(bad)
        self._losses.append(loss.detach())
        return bad.float()

    def read(self) -> list[BadStep]:
        """The bad steps since the last reading; waits for the device."""
        if not self._seen:
            return []
        flags = torch.stack(self._flags).tolist()  # [n]
        losses = torch.stack(self._losses).double().tolist()  # [n]
        seen = list(zip(self._seen, flags, losses, strict=True))
        self._seen, self._flags, self._losses = [], [], []
        self._good += [loss for _, flag, loss in seen if not flag]
        return [
            BadStep(step, loss, tuple(records.tolist()))
            for (step, records), flag, loss in seen
            if flag and step not in self.forgiven
        ]

    def mean_loss(self) -> float:
        """Of the finite steps that were read since the last call; NaN without any."""
        good, self._good = self._good, []
        return math.fsum(good) / len(good) if good else math.nan

    def forget(self) -> None:
        """Begin anew."""
        self._seen, self._flags, self._losses, self._good = [], [], [], []


def unsound_weight(model: nn.Module) -> str:
    """The name of the first weight or running mean that is not finite; empty if all are. Waits for the device."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    largest = torch.stack([tensor.detach().abs().amax().float() for tensor in tensors.values() if tensor.numel()])
    finite = torch.isfinite(largest).tolist()
    names = [name for name, tensor in tensors.items() if tensor.numel()]
    return next((name for name, sound in zip(names, finite, strict=True) if not sound), "")


def complaint(step: int, bad: Sequence[BadStep], weight: str, worker: Worker, key_of: Callable[[int], str]) -> str:
    """What is not finite, since when, and in which batch.

    Args:
        step: that the run has finished.
        bad: its bad steps, the same on every worker, which all have to call this.
        weight: of the network, if one is not finite.
        key_of: of a record, by its number.
    """
    said = []
    if bad:
        first = bad[0]
        everywhere = worker.gathered(torch.tensor(first.records, dtype=torch.int64))
        keys = [key_of(record) for records in everywhere for record in records.tolist()]
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        others = f" ({len(bad) - 1} later steps, too)" if len(bad) > 1 else ""
        said.append(f"step {first.step}: {first.what}, for the records {', '.join(keys[:SHOWN])}{more}{others}.")
    if weight:
        said.append(f"After step {step} {weight} holds numbers that are not finite.")
    return " ".join(said)


def ways_on(newest: str, lr: float, roll_backs: int) -> str:
    """What a person can do about a run that stopped; `newest` is the path of its newest checkpoint, or nothing."""
    kept = f"The newest checkpoint is sound: {newest}." if newest else "There is no checkpoint yet."
    return (
        f"{kept} Look at these records and at optim.lr (now {lr:.3g}). The same command again goes on there; "
        "loop.nonfinite=skip leaves out the update of such a step, loop.nonfinite=roll_back goes back first, at most "
        f"loop.roll_backs times ({roll_backs})."
    )
