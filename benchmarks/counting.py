"""Operations of a training step, counted on shapes alone, and the attention matrices that must never exist.

Owns the count (docs/methods/performance.md#operations-of-a-step). Operations are algorithmic: multiply and add are two,
and the product that a fused attention kernel repeats in backward is not counted, so that they compare across kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import build, knowing_features, loss_of, made_up
from vpd.model.settings import ModelConfig
from vpd.training.memory.activations import saving_into
from vpd.training.telemetry.utilisation import FUSED_ATTENTION

BARS_GFLOP = {"refer": 2725.0, "seg": 2480.0, "depth": 2801.0}  # of an image, latents given
SLACK = 1.001
NAIVE_SIDE = 1024  # an attention square [B, heads, N, N] with N this large or larger must never exist


class AttentionSquares(TorchDispatchMode):
    """Collects the shapes of materialised attention matrices: `[B, heads, N, N]` or `[B * heads, N, N]`, N large."""

    def __init__(self, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.found: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if not isinstance(x, torch.Tensor) or x.ndim not in (3, 4) or x.shape[-3] < self.heads:
                continue  # fewer "heads" than heads: activations [1, N, C] with as many channels as pixels
            if x.shape[-1] == x.shape[-2] >= NAIVE_SIDE:
                self.found.add(tuple(x.shape))
        return out


@dataclass(frozen=True)
class StepCount:
    """What one image costs.

    Attributes:
        forward_gflop, step_gflop: of the forward pass and loss, and with the backward pass.
        kept_gb: what backward needs beside the weights, in float32.
        squares: shapes of the attention matrices met.
    """

    forward_gflop: float
    step_gflop: float
    kept_gb: float
    squares: set[tuple[int, ...]]


def count_step(
    name: str = "refer",
    width: int = 320,
    latent_side: int = 64,
    regime: ModelConfig | None = None,
    known: bool = False,
    **options: Any,
) -> StepCount:
    """Count one image on shapes alone.

    Args:
        name: of `networks.KINDS`.
        width: base channels of the UNet; 320 is SD 1.5.
        latent_side: 64 is a 512 x 512 image.
        regime: what learns; default everything.
        known: the features are those of a sample that came before.
        options: of `networks.build`, and of `SdUnet`.
    """
    # Fake CPU tensors choose the kernels that real ones would; on the meta device attention decomposes.
    model, task = build(name, width, "meta", regime=regime, **options)
    with FakeTensorMode():
        _from_meta(model)
        batch = made_up(name, model, 1, latent_side)
        batch = knowing_features(model, task, batch) if known else batch
        counter, squares = FlopCounterMode(display=False, custom_mapping=FUSED_ATTENTION), AttentionSquares()
        saved: dict[int, torch.Tensor] = {}
        with squares, counter:
            with saving_into(saved):
                loss = loss_of(model, task, batch)
            forward = counter.get_total_flops()
            loss.backward()
        weights = {tensor.untyped_storage()._cdata for tensor in model.state_dict().values()}
        kept = sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in weights)
    return StepCount(forward / 1e9, counter.get_total_flops() / 1e9, kept / 1e9, squares.found)


def _from_meta(model: nn.Module) -> None:
    """Tensors of the fake mode in force in place of those on the meta device; `module.to` cannot exchange these."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            fake = torch.empty(weight.shape, dtype=weight.dtype)
            module.register_parameter(name, nn.Parameter(fake, requires_grad=weight.requires_grad))
        for name, values in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(values.shape, dtype=values.dtype))
