"""The gated activation of a transformer's feed-forward layer, keeping less for its backward pass.

Owns that one product, x * gelu(gate). Left to itself autograd keeps the projection that both are halves of, and
gelu(gate) beside it; the latter is computed again here, and the slopes of both halves are written where the
projection's backward reads them, instead of being joined. Same operations on the same numbers, so the same bits.
Which layers there are is diffusers'.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from torch import nn
from torch.autograd.function import once_differentiable


class GatedGelu(nn.Module):
    """In place of diffusers' `GEGLU`, with its projection under the same name."""

    def __init__(self, plain: GEGLU) -> None:
        super().__init__()
        self.proj = plain.proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = self.proj(x)  # [B, N, 2 C]
        if torch.compiler.is_compiling():  # a compiler decides by itself what to compute again
            return gated(projected)
        product: Any = _Gated.apply(projected)
        return product


def gated(projected: torch.Tensor) -> torch.Tensor:
    """`[B, N, C]`: the first half of `[B, N, 2 C]` by the gelu of the second."""
    x, gate = projected.chunk(2, dim=-1)
    return x * F.gelu(gate)


def keep_less_of_gates(unet: nn.Module) -> None:
    """Replace the gated activations of a UNet, in place; their weights keep their names."""
    for layer in unet.modules():
        if isinstance(layer, FeedForward) and isinstance(plain := layer.net[0], GEGLU):
            layer.net[0] = GatedGelu(plain)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(projected)
        return gated(projected)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slope: torch.Tensor) -> torch.Tensor:
        (projected,) = ctx.saved_tensors
        x, gate = projected.chunk(2, dim=-1)
        slopes = torch.empty_like(projected)  # [B, N, 2 C]
        of_x, of_gate = slopes.chunk(2, dim=-1)
        torch.mul(slope[0], F.gelu(gate), out=of_x)
        torch.ops.aten.gelu_backward.grad_input(slope[0] * x, gate, grad_input=of_gate)
        return slopes
