"""How much a training step keeps for its backward pass, counted from shapes alone.

Owns the count: a forward pass and loss on tensors without data, and the bytes of every storage that autograd saves on
the way. Weights are left out; their copies in lower precision are not. What is alive beside them, and when, is
`vpd.training.memory.step_memory`'s, the pass without data `vpd.training.memory.without_data`'s.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from vpd.model.device_batch import DeviceBatch, context_of
from vpd.tasks import Learned
from vpd.training.memory.without_data import as_on_gpu, asks_for_values, batch_like, model_like


def saved_bytes(
    model: nn.Module, task: Learned, sample: DeviceBatch, samples: int = 1, *, bfloat16: bool = False
) -> int | None:
    """What forward pass and loss of one batch keep for backward; None for a network that asks for values on its way.

    Args:
        model: in training mode; on any device, the meta device included. Only shapes are read.
        sample: a batch of one, on the CPU; its labels are read where a loss asks for values.
        samples: size of the batch.
        bfloat16: as under a GPU's autocast, else in float32.

    Raises:
        RuntimeError, ValueError, TypeError: what torch says of a network that does not run on such a batch.
    """
    try:
        return _saved_bytes(model, task, sample, samples, bfloat16)
    except RuntimeError as error:
        if asks_for_values(error):
            return None
        raise


def _saved_bytes(model: nn.Module, task: Learned, sample: DeviceBatch, samples: int, bfloat16: bool) -> int:
    shaped = copy.deepcopy(task)  # a task may keep tensors, which here have no data
    saved: dict[int, torch.Tensor] = {}
    of_loss: dict[int, torch.Tensor] = {}
    network, batch = model_like(model), batch_like(sample, samples)
    with as_on_gpu(bfloat16) as forward_pass, forward_pass():
        inputs = (batch.latents, context_of(shaped, batch), shaped.out_size_px(batch))
        with saving_into(saved):
            prediction = network(*inputs)
        try:
            with saving_into(of_loss):
                shaped.loss(prediction, batch)
            saved = {**of_loss, **saved}
        except RuntimeError:
            of_loss.clear()  # it asks for values, or does not fit the prediction: `_loss_bytes` tells which
    weights = {_storage(tensor) for tensor in [*network.parameters(), *network.buffers()]}
    kept = sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in weights)
    if of_loss:
        return kept
    outputs = [prediction] if isinstance(prediction, torch.Tensor) else prediction
    return kept + samples * _loss_bytes(task, sample, [tuple(output.shape) for output in outputs])


@contextmanager
def saving_into(saved: dict[int, torch.Tensor]) -> Iterator[None]:
    """Every tensor that autograd saves meanwhile, one for each storage, by the storage's identity."""

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(_storage(tensor), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


def _loss_bytes(task: Learned, sample: DeviceBatch, shapes: Sequence[tuple[int, ...]]) -> int:
    """What the loss of one sample keeps, on real labels and a prediction of zeros."""
    outputs = [torch.zeros(1, *shape[1:], requires_grad=True) for shape in shapes]
    saved: dict[int, torch.Tensor] = {}
    with saving_into(saved):
        task.loss(outputs[0] if len(outputs) == 1 else outputs, sample)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
