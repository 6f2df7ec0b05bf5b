"""The gated activation that keeps less for its backward pass."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward

from vpd.backbones.sd_unet.gates import GatedGelu, keep_less_of_gates
from vpd.training.memory.activations import saving_into

WIDTH, INNER = 6, 24  # of a feed-forward layer, and of what its gate gives


def layers() -> tuple[FeedForward, FeedForward]:
    """diffusers' layer, and the same with its gate replaced."""
    torch.manual_seed(0)
    plain, lean = FeedForward(WIDTH), FeedForward(WIDTH)
    keep_less_of_gates(lean)
    lean.load_state_dict(plain.state_dict())  # under the same names
    return plain, lean


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_and_gradients_are_the_same_bits(dtype):
    plain, lean = (layer.to(dtype) for layer in layers())
    pixels = torch.randn(2, 5, WIDTH, dtype=dtype)
    found = []
    for layer in (plain, lean):
        seen = pixels.clone().requires_grad_()
        output = layer(seen)
        (output.float() ** 2).sum().backward()
        found.append([output, seen.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_the_gelu_is_not_kept():
    kept = []
    for layer in layers():
        saved: dict[int, torch.Tensor] = {}
        with saving_into(saved):
            layer(torch.randn(2, 5, WIDTH))
        weights = {p.untyped_storage()._cdata for p in layer.parameters()}
        kept.append(sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in weights))
    plain, lean = kept
    assert plain - lean == 4 * 2 * 5 * INNER  # bytes of float32 [2, 5, INNER]


def test_a_frozen_layer_keeps_nothing_and_without_gradients_nothing_is_recorded():
    _, lean = layers()
    with torch.no_grad():
        assert lean(torch.randn(1, 3, WIDTH)).grad_fn is None
    saved: dict[int, torch.Tensor] = {}
    with saving_into(saved):
        lean.requires_grad_(False)(torch.randn(1, 3, WIDTH))
    assert not saved


def test_only_gates_of_that_kind_are_replaced():
    other = FeedForward(WIDTH, activation_fn="gelu")
    before = other.net[0]
    keep_less_of_gates(other)
    assert other.net[0] is before
    _, lean = layers()
    assert isinstance(lean.net[0], GatedGelu)
