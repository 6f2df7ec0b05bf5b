"""The most memory that a training step holds at once, counted from shapes alone.

Owns the count: the very step of the loop (`vpd.training.step.gradients.backward`, optimiser, average) on tensors
without data, and every storage that is alive on the way: weights, moments, activations, gradients, what an operation
returns and what is freed again. A loss that asks for values is taken of one sample with data. What autograd keeps
between the passes is `vpd.training.memory.activations`', kernels' workspaces and an allocator's gaps nobody's.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vpd.heads import Prediction
from vpd.model.device_batch import DeviceBatch
from vpd.tasks import Learned
from vpd.training.memory.live_storages import LiveStorages
from vpd.training.memory.without_data import as_on_gpu, asks_for_values, batch_like, model_like
from vpd.training.step.averaging import WeightAverage
from vpd.training.step.gradients import backward
from vpd.training.step.sharded import largest_share
from vpd.training.worker import Worker

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, each as large as what learns


def peak_bytes(
    model: nn.Module,
    task: Learned,
    sample: DeviceBatch,
    samples: int,
    *,
    ema_decay: float = 0.0,
    micro_batch: int = 0,
    summed_apart: bool = False,
    gradients_beside: bool = False,
    shared_by: int = 1,
    bfloat16: bool = False,
) -> int | None:
    """The peak of a step of one worker, batch included; None for a network that asks for values on its way.

    Args:
        model: in training mode, with what learns and what does not; on any device, the meta device included.
        sample: a batch of one, on the CPU; its labels are read where a loss asks for values.
        samples: of this worker's share of a step.
        micro_batch: samples that pass the network at once; 0 = all of them.
        summed_apart: gradients lie in the buckets that workers exchange, which are there all the time.
        gradients_beside: they lie beside those buckets, a copy more (`loop.exchange.bucket_view`).
        shared_by: workers that each keep the moments of a share (`optim.sharded`); that of the largest is counted.
        bfloat16: as under a GPU's autocast, else in float32.

    Raises:
        RuntimeError, ValueError, TypeError: what torch says of a network that does not run on such a batch.
    """
    apart = (summed_apart, gradients_beside, shared_by)
    step = _Step(model, sample, samples, ema_decay, micro_batch, *apart, bfloat16)
    shaped: Any = copy.deepcopy(task)  # a task may keep tensors, which here have no data
    plain_loss = shaped.loss

    def loss(logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        try:
            return plain_loss(logits, batch)
        except RuntimeError as error:  # it asks for values, or does not fit the prediction: the real one tells which
            raise _LossAsks([tuple(output.shape) for output in _outputs(logits)]) from error

    set_loss = functools.partial(object.__setattr__, shaped, "loss")  # of a frozen task, too
    set_loss(loss)
    try:
        try:
            return step.peak(shaped)
        except _LossAsks as asked:
            cost = _cost_of_loss(task, sample, asked.shapes)
        set_loss(lambda logits, batch: _Taking.apply(cost, len(batch), *_outputs(logits)))
        return step.peak(shaped)
    except RuntimeError as error:
        if asks_for_values(error):
            return None
        raise


@dataclass(frozen=True)
class _Step:
    """A step of the loop, on tensors without data."""

    model: nn.Module
    sample: DeviceBatch
    samples: int
    ema_decay: float
    micro_batch: int
    summed_apart: bool
    gradients_beside: bool
    shared_by: int
    bfloat16: bool

    def peak(self, task: Learned) -> int:
        """Bytes alive at once, at most."""
        network, live = model_like(self.model), LiveStorages()
        passing = self.samples
        if self.micro_batch and task.loss_weight(self.sample) is not None:
            passing = min(passing, 2 * self.micro_batch)  # each part after the second is as the second
        batch, waiting = batch_like(self.sample, passing), batch_like(self.sample, self.samples - passing)
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        with live, as_on_gpu(self.bfloat16) as forward_pass:
            live.hold([*network.parameters(), *network.buffers()])
            for part in (batch, waiting):
                live.hold([part.latents, part.text, *part.labels.values()])
            share = largest_share(learning, self.shared_by)
            held = [torch.empty_like(parameter) for parameter in share for _ in MOMENTS]
            held += [torch.empty_like(parameter) for parameter in learning if self.summed_apart]  # buckets
            average = WeightAverage(network, self.ema_decay) if self.ema_decay else None
            if self.summed_apart and not self.gradients_beside:
                for parameter in learning:  # copied to its bucket, and gone
                    parameter.register_post_accumulate_grad_hook(lambda learned: learned.__setattr__("grad", None))
            backward(network, task, batch, Worker(), autocast=forward_pass, micro_batch=self.micro_batch)
            if average:  # the fused optimiser takes nothing more; this is moved while gradients are no longer there
                network.zero_grad(set_to_none=True)
                average.after_step(1, torch.zeros(()))
            del held, waiting
        return live.peak


class _LossAsks(Exception):
    """A loss that cannot be taken without values."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = shapes  # of what it was to judge


@dataclass(frozen=True)
class _LossCost:
    """Bytes that the loss of one sample takes, beside what it judges."""

    kept: int  # for backward
    forward: int  # the most at once on the way
    backward: int


def _cost_of_loss(task: Learned, sample: DeviceBatch, shapes: Sequence[tuple[int, ...]]) -> _LossCost:
    """Measured on real labels and a prediction of zeros."""
    outputs = [torch.zeros(1, *shape[1:], requires_grad=True) for shape in shapes]
    with LiveStorages() as live:
        loss = task.loss(outputs[0] if len(outputs) == 1 else outputs, sample)
        kept, forward, live.peak = live.now, live.peak, 0
        slopes = torch.autograd.grad(loss, outputs)
        returned = sum(slope.nbytes for slope in slopes)
        return _LossCost(kept, forward, max(live.peak - returned, kept))


class _Taking(torch.autograd.Function):
    """Takes as much memory as a loss."""

    @staticmethod
    def forward(ctx: Any, cost: _LossCost, samples: int, *outputs: torch.Tensor) -> torch.Tensor:
        torch.empty(samples * cost.forward, dtype=torch.uint8)
        ctx.save_for_backward(torch.empty(samples * cost.kept, dtype=torch.uint8), *outputs)
        ctx.more = samples * (cost.backward - cost.kept)
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        _, *outputs = ctx.saved_tensors
        more = torch.empty(ctx.more, dtype=torch.uint8)
        slopes = tuple(torch.empty_like(output) for output in outputs)
        del more
        return (None, None, *slopes)


def _outputs(prediction: Prediction) -> list[torch.Tensor]:
    return [prediction] if isinstance(prediction, torch.Tensor) else list(prediction)
