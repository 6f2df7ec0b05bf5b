"""Loss and gradients of one optimiser step, in one pass or in parts that fit the device one at a time.

Owns that parts give what the whole batch gives, on any number of workers. Where a task's loss is a weighted mean over
samples (`Learned.loss_weight`), each part is scaled by its share of the whole. A loss that is not (one root over all
pixels, one sort over all errors) is taken over the predictions of all parts at once: they are predicted without a
graph, the loss gives the gradient of every prediction, and each part is passed again to carry its own back; that costs
another forward pass. Across workers such a loss stays each worker's own, as published code has it; where one has more
samples than another, it counts as much more.

Two things are of a part and not of the whole: the statistics of batch norms, and where dropout falls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vpd.heads import Prediction
from vpd.model.device_batch import DeviceBatch, context_of
from vpd.tasks import Learned
from vpd.training.worker import Worker

Autocast = Callable[[], AbstractContextManager[Any]]


def backward(
    model: nn.Module,
    task: Learned,
    batch: DeviceBatch,
    worker: Worker,
    *,
    autocast: Autocast = nullcontext,
    micro_batch: int = 0,
    seed: int | None = 0,
    share: float = 1.0,
) -> torch.Tensor:
    """Add the gradients of a batch's loss to the parameters; nothing is read back from the device.

    Args:
        model: `Perception`, bare or wrapped for data parallelism.
        batch: this worker's share of the step.
        micro_batch: samples that pass the network at once; 0 = all of them.
        seed: of what is drawn in the passes; part k draws from seed + k. None: whoever calls has set it.
        share: samples of this worker by those of a worker on average.

    Returns:
        The scalar loss, without a graph; its mean over the workers is that of the global batch where the task has
        weights.
    """
    parts = _split(batch, micro_batch)
    weights = [task.loss_weight(part) for part in parts]
    if any(weight is None for weight in weights):
        if len(parts) > 1:
            return _deferred(model, task, parts, batch, autocast, seed, share)
        loss = _scaled(_loss(model, task, batch, autocast, seed), share)
        loss.backward()
        return loss.detach()
    known = torch.stack([weight for weight in weights if weight is not None])  # [P]
    shares = known * worker.world / worker.summed_here(known.sum()).clamp(min=1e-12)
    losses = []
    for k, part in enumerate(parts):
        with _synchronised(model, last=k == len(parts) - 1):
            loss = _loss(model, task, part, autocast, _of_part(seed, k))
            loss = loss if len(parts) == worker.world == 1 else loss * shares[k].to(loss.dtype)
            loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def _deferred(
    model: nn.Module,
    task: Learned,
    parts: Sequence[DeviceBatch],
    batch: DeviceBatch,
    autocast: Autocast,
    seed: int | None,
    share: float,
) -> torch.Tensor:
    """The loss over the predictions of all parts, carried back part by part."""
    predicted: list[list[torch.Tensor]] = []  # outputs of every part
    with torch.no_grad(), _norms_at_rest(model):
        for k, part in enumerate(parts):
            predicted.append(_outputs(_predict(model, task, part, autocast, _of_part(seed, k))))
    joined = [torch.cat(outputs).requires_grad_() for outputs in zip(*predicted, strict=True)]  # [B, ...] each
    with autocast():
        loss = _scaled(task.loss(joined[0] if len(joined) == 1 else joined, batch), share)
    given = torch.autograd.grad(loss, joined)
    sizes = [len(part) for part in parts]
    for k, (part, *slopes) in enumerate(zip(parts, *(grad.split(sizes) for grad in given), strict=True)):
        with _synchronised(model, last=k == len(parts) - 1):
            outputs = _outputs(_predict(model, task, part, autocast, _of_part(seed, k)))
            torch.autograd.backward(outputs, [slope.to(out.dtype) for slope, out in zip(slopes, outputs, strict=True)])
    return loss.detach()


def _of_part(seed: int | None, part: int) -> int | None:
    return None if seed is None else seed + part


def _predict(model: nn.Module, task: Learned, part: DeviceBatch, autocast: Autocast, seed: int | None) -> Prediction:
    if seed is not None:
        torch.manual_seed(seed)  # dropout is a function of the position
    with autocast():
        known = () if part.features is None else (part.features,)
        return model(part.latents, context_of(task, part), task.out_size_px(part), *known)


def _loss(model: nn.Module, task: Learned, part: DeviceBatch, autocast: Autocast, seed: int | None) -> torch.Tensor:
    prediction = _predict(model, task, part, autocast, seed)
    with autocast():
        return task.loss(prediction, part)


def _scaled(loss: torch.Tensor, share: float) -> torch.Tensor:
    return loss if share == 1 else loss * share


def _outputs(prediction: Prediction) -> list[torch.Tensor]:
    return [prediction] if isinstance(prediction, torch.Tensor) else list(prediction)


def _split(batch: DeviceBatch, micro_batch: int) -> list[DeviceBatch]:
    """The batch in parts of at most `micro_batch` samples, in order."""
    if not 0 < micro_batch < len(batch):
        return [batch]
    latents = batch.latents.split(micro_batch)
    text = batch.text.split(micro_batch) if batch.text is not None else [None] * len(latents)
    labels = {name: values.split(micro_batch) for name, values in batch.labels.items()}
    levels = [level.split(micro_batch) for level in batch.features or ()]
    rows = [slice(first, first + micro_batch) for first in range(0, len(batch), micro_batch)]
    return [
        DeviceBatch(
            latents[k],
            text[k],
            {name: values[k] for name, values in labels.items()},
            {name: values[rows[k]] for name, values in batch.on_host.items()},
            None if batch.features is None else [level[k] for level in levels],
        )
        for k in range(len(latents))
    ]


def _synchronised(model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Workers add up their gradients once, with the last part."""
    no_sync = getattr(model, "no_sync", None)
    return nullcontext() if last or no_sync is None else no_sync()


@contextmanager
def _norms_at_rest(model: nn.Module) -> Iterator[None]:
    """Running statistics stay as they are meanwhile: the pass that is carried back counts them."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.momentum is not None]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, counted in kept:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if counted is None else counted.clone()
    try:
        yield
    finally:
        for norm, momentum, counted in kept:
            norm.momentum, norm.num_batches_tracked = momentum, counted
