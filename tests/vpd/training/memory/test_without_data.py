"""What stands in for a kernel where there is no data returns and keeps what the kernel does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vpd.training.memory.activations import saving_into
from vpd.training.memory.without_data import as_on_gpu

NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "group": (lambda: nn.GroupNorm(8, 32), (2, 32, 6, 5)),
    "group, nothing learned": (lambda: nn.GroupNorm(8, 32, affine=False), (2, 32, 6, 5)),
    "group, of sequences": (lambda: nn.GroupNorm(4, 8), (3, 8, 7)),
    "layer": (lambda: nn.LayerNorm(32), (2, 7, 32)),
    "layer, without bias": (lambda: nn.LayerNorm(32, bias=False), (2, 7, 32)),
    "layer, of two sides": (lambda: nn.LayerNorm((7, 32)), (2, 7, 32)),
}


def passed(norm: nn.Module, values: torch.Tensor) -> tuple[list[int], list[tuple[torch.Size, torch.dtype]]]:
    """Bytes of every storage that is kept beside weights, and what is given out: output and gradients."""
    saved: dict[int, torch.Tensor] = {}
    with saving_into(saved):
        out = norm(values)
    out.sum().backward()
    given = [out, values.grad, *(parameter.grad for parameter in norm.parameters())]
    weights = {parameter.untyped_storage()._cdata for parameter in norm.parameters()}
    kept = [one.untyped_storage().nbytes() for storage, one in saved.items() if storage not in weights]
    return sorted(kept), [(one.shape, one.dtype) for one in given]


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_keeps_and_gives_what_the_kernel_does(name: str) -> None:
    made, shape = NORMS[name]
    expected = passed(made(), torch.randn(shape, requires_grad=True))
    with as_on_gpu(bfloat16=False) as forward_pass, forward_pass():
        assert passed(made(), torch.randn(shape, requires_grad=True)) == expected


def test_a_norm_is_contiguous_whatever_its_input_is() -> None:
    with as_on_gpu(bfloat16=False):
        assert F.group_norm(torch.empty(2, 5, 6, 32).permute(0, 3, 1, 2), 8).is_contiguous()


def test_a_frozen_norm_has_gradients_of_its_input_alone() -> None:
    with as_on_gpu(bfloat16=False):
        norm, values = nn.LayerNorm(32).requires_grad_(False), torch.empty(2, 32, requires_grad=True)
        norm(values).sum().backward()
        assert norm.weight.grad is None
        assert values.grad is not None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: F.group_norm(torch.empty(2, 30, 4), 8),
        lambda: F.group_norm(torch.empty(2, 32, 4), 8, torch.empty(16)),
        lambda: F.group_norm(torch.empty(1, 8, 1), 8),
        lambda: F.layer_norm(torch.empty(2, 32), (16,)),
        lambda: F.layer_norm(torch.empty(2, 32), (32,), torch.empty(16)),
    ],
)
def test_what_does_not_fit_is_refused_as_with_data(wrong: Callable[[], torch.Tensor]) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        wrong()
    with as_on_gpu(bfloat16=False), pytest.raises((RuntimeError, ValueError)):
        wrong()
