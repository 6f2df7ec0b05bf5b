"""A network that runs on shapes alone, with the types and kernels that it has on a GPU.

Owns the stand-ins on the meta device (network, batch), what autocast would do to them (torch's does nothing there), and
how it is seen that somebody asked for values. What is counted meanwhile is `vpd.training.memory.activations`' and
`vpd.training.memory.step_memory`'s.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from vpd.model.device_batch import DeviceBatch

# What autocast on CUDA computes in which type, by the names of functions and methods (torch, autocast_mode.h);
# `interpolate` is left out, since this project enlarges features in their own type (`vpd.enlarging`).
_PRODUCTS = (
    *("linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "prelu"),
)
_SENSITIVE = (
    *("group_norm", "layer_norm", "softmax", "log_softmax", "sum", "prod", "cumsum", "norm"),
    *("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss"),
    *("huber_loss", "kl_div", "softplus", "exp", "log", "log2", "log10", "log1p", "pow", "__pow__", "rsqrt"),
    *("reciprocal", "logsumexp", "cosine_similarity"),
)
TYPES = dict.fromkeys(_PRODUCTS, torch.bfloat16) | dict.fromkeys(_SENSITIVE, torch.float32)


def model_like(model: nn.Module) -> nn.Module:
    """The same network without data; nothing is copied."""
    stand_ins: dict[int, Any] = {id(p): nn.Parameter(like(p), p.requires_grad) for p in model.parameters()}
    stand_ins |= {id(buffer): like(buffer) for buffer in model.buffers()}
    return copy.deepcopy(model, stand_ins)


def batch_like(sample: DeviceBatch, samples: int) -> DeviceBatch:
    """A batch of so many samples of this one's kind."""
    return DeviceBatch(
        like(sample.latents, samples),
        None if sample.text is None else like(sample.text, samples),
        {name: like(label, samples) for name, label in sample.labels.items()},
    )


def like(tensor: torch.Tensor, samples: int | None = None) -> torch.Tensor:
    """A tensor of the same kind without data, with `samples` rows if that is given."""
    shape = tensor.shape if samples is None else (samples, *tensor.shape[1:])
    return torch.empty(shape, dtype=tensor.dtype, device="meta")


def asks_for_values(error: Exception) -> bool:
    """Whether an operation failed because there is no data."""
    return isinstance(error, NotImplementedError) or "meta tensor" in str(error)


@contextmanager
def as_on_gpu(bfloat16: bool) -> Iterator[Callable[[], Any]]:
    """What is computed meanwhile takes the types and kernels that it takes on a GPU.

    Yields:
        The context of one forward pass, as `vpd.training.step.numerics.autocast_of` gives one.
    """
    mode = _AsOnGpu(bfloat16)
    with torch.device("meta"), mode:
        yield mode.forward_pass


class _AsOnGpu(TorchFunctionMode):
    """Autocast to bfloat16, if asked for, and attention that never holds its square; in recomputations, too."""

    def __init__(self, bfloat16: bool) -> None:
        super().__init__()
        self._bfloat16 = bfloat16
        self._cached: dict[int, torch.Tensor] | None = None  # copies of weights, in a forward pass

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """A weight has one copy meanwhile."""
        before, self._cached = self._cached, {}
        try:
            yield
        finally:
            self._cached = before

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.backward or func is torch.autograd.backward:
            return self._backward(*args)
        dtype = TYPES.get(getattr(func, "__name__", "")) if self._bfloat16 else None
        if dtype is not None:
            args = [self._to(value, dtype) for value in args]
            kwargs = {key: self._to(value, dtype) for key, value in kwargs.items()}
        stand_in = STAND_INS.get(func)
        return stand_in(*args, **kwargs) if stand_in else func(*args, **kwargs)

    def _to(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._to(one, dtype) for one in value)
        if not isinstance(value, torch.Tensor) or value.dtype not in (torch.float32, torch.bfloat16):
            return value
        if self._cached is None or dtype == torch.float32 or not isinstance(value, nn.Parameter):
            return value.to(dtype)
        if id(value) not in self._cached:
            self._cached[id(value)] = value.to(dtype)
        return self._cached[id(value)]

    def _backward(self, tensors: Any, slopes: Any = None) -> None:
        """torch's own, with this mode in force: while a mode handles a function it is not."""
        tensors = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
        slopes = tuple(torch.ones_like(tensor) for tensor in tensors) if slopes is None else tuple(slopes)
        engine: Any = torch.autograd.Variable._execution_engine
        with self:
            engine.run_backward(tensors, slopes, False, False, (), allow_unreachable=True, accumulate_grad=True)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> torch.Tensor:
    """One fused kernel, as a GPU has; left to itself, torch computes attention openly where there is no data."""
    fused: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, _ = fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)
    return out


def _group_norm(
    values: torch.Tensor,
    groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    samples, channels = values.shape[:2]
    if channels % groups:
        raise RuntimeError(f"{channels} channels are no multiple of the {groups} groups they are normalised in")
    if values.numel() == groups:
        raise ValueError(f"an input of {list(values.shape)} has one value a group to normalise")
    return _normed(values, (channels,), (samples, groups), weight, bias)


def _layer_norm(
    values: torch.Tensor,
    sizes: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    kept = values.dim() - len(sizes)
    if tuple(values.shape[kept:]) != tuple(sizes):
        raise RuntimeError(f"an input of {list(values.shape)} does not end in the {list(sizes)} that are normalised")
    return _normed(values, tuple(sizes), tuple(values.shape[:kept]), weight, bias)


def _normed(values: torch.Tensor, sizes: tuple[int, ...], statistics: tuple[int, ...], *affine: Any) -> torch.Tensor:
    for learned in affine:
        if learned is not None and tuple(learned.shape) != sizes:
            raise RuntimeError(f"a normalisation of {list(sizes)} learned {list(learned.shape)}")
    return _Normed.apply(values, statistics, *affine)


class _Normed(torch.autograd.Function):
    """What one fused kernel returns and keeps; torch computes norms in Python, slowly, where there is no data."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, statistics: tuple[int, ...], *affine: Any) -> torch.Tensor:
        mean, deviation = (values.new_empty(statistics) for _ in range(2))
        ctx.save_for_backward(values, *affine, mean, deviation)
        return values.new_empty(values.shape)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        of_values, _, *of_affine = ctx.needs_input_grad
        values, *affine = ctx.saved_tensors[:-2]
        slope = values.new_empty(values.shape) if of_values else None
        return (
            slope,
            None,
            *(torch.empty_like(one) if needed else None for one, needed in zip(affine, of_affine, strict=True)),
        )


# At the level that modules call: torch's own functions below are not seen from within one of these.
STAND_INS: Mapping[Any, Callable[..., Any]] = {
    F.scaled_dot_product_attention: _attention,
    F.group_norm: _group_norm,
    F.layer_norm: _layer_norm,
}
