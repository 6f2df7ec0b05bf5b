"""How much a training step keeps for its backward pass, counted from shapes alone.

Owns the count: a forward pass and loss on tensors without data, and the bytes of every storage that autograd saves on
the way. Weights are left out; their copies in lower precision are not. It is an estimate of a GPU's memory: what a
kernel needs only while it runs, and what the allocator wastes, nobody can see here. Parameters, gradients and the
optimiser are arithmetic and left to the caller.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.overrides import TorchFunctionMode

from vpd.model.device_batch import DeviceBatch
from vpd.tasks import Learned

ASKS_FOR_VALUES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)


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
    except ASKS_FOR_VALUES:
        return None


def _saved_bytes(model: nn.Module, task: Learned, sample: DeviceBatch, samples: int, bfloat16: bool) -> int:
    shaped = copy.deepcopy(task)  # a task may keep tensors, which here have no data
    saved: dict[int, torch.Tensor] = {}
    of_loss: dict[int, torch.Tensor] = {}
    with FakeTensorMode():
        tensors = {name: _like(tensor) for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        batch = DeviceBatch(
            _like(sample.latents, samples),
            None if sample.text is None else _like(sample.text, samples),
            {name: _like(label, samples) for name, label in sample.labels.items()},
        )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16), _NormsInFloat32(bfloat16):
            inputs = (batch.latents, shaped.context(batch), shaped.out_size_px(batch))
            with saving_into(saved):
                prediction = torch.func.functional_call(model, tensors, inputs)
            try:
                with saving_into(of_loss):
                    shaped.loss(prediction, batch)
                saved = {**of_loss, **saved}
            except RuntimeError:
                of_loss.clear()  # it asks for values, or does not fit the prediction: `_loss_bytes` tells which
    weights = {_storage(tensor) for tensor in tensors.values()}
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


class _NormsInFloat32(TorchFunctionMode):
    """What a GPU's autocast does with norms and the CPU's, which stands in for it here, does not."""

    def __init__(self, active: bool) -> None:
        super().__init__()
        self.active = active

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.active and func in (F.group_norm, F.layer_norm):
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def _loss_bytes(task: Learned, sample: DeviceBatch, shapes: Sequence[tuple[int, ...]]) -> int:
    """What the loss of one sample keeps, on real labels and a prediction of zeros."""
    outputs = [torch.zeros(1, *shape[1:], requires_grad=True) for shape in shapes]
    saved: dict[int, torch.Tensor] = {}
    with saving_into(saved):
        task.loss(outputs[0] if len(outputs) == 1 else outputs, sample)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def _like(tensor: torch.Tensor, samples: int | None = None) -> torch.Tensor:
    """A tensor of the same kind on the CPU, with `samples` rows if that is given."""
    shape = tensor.shape if samples is None else (samples, *tensor.shape[1:])
    return torch.empty(shape, dtype=tensor.dtype, device="cpu").requires_grad_(tensor.requires_grad)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
