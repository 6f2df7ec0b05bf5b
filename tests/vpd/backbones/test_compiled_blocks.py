"""Regional compile: blocks are traced whole, give what they gave, and are saved under the same names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.tracing import traced_only

SMALL = {"layers_per_block": 1}


@pytest.fixture
def _traced_only() -> Iterator[None]:
    with traced_only():
        yield


def _features_and_gradients(backbone: Any) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    noise = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 8, 8, generator=noise)  # [B, 4, h, w]
    context = torch.randn(1, 20, 64, generator=noise)  # [B, L, D]
    features = backbone(latents, context)
    sum(feature.square().mean() for feature in features).backward()
    gradients = {name: p.grad.clone() for name, p in backbone.named_parameters() if p.grad is not None}
    backbone.zero_grad()
    return [feature.detach() for feature in features], gradients


@pytest.mark.usefixtures("_traced_only")
def test_compiled_blocks_give_the_same_features_maps_and_gradients(make_unet: Any) -> None:
    backbone = make_unet(SMALL)
    names = list(backbone.state_dict())
    features, gradients = _features_and_gradients(backbone)
    backbone.compile_blocks()
    torch._dynamo.utils.counters.clear()
    found, found_gradients = _features_and_gradients(backbone)
    torch.testing.assert_close(found, features, rtol=0, atol=1e-6)
    assert found_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert list(backbone.state_dict()) == names  # so that checkpoints go in and out
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 8  # where the compiler's own limit would be


@pytest.mark.usefixtures("_traced_only")
def test_more_shapes_than_the_compiler_keeps_are_an_error_and_not_a_fallback(make_unet: Any) -> None:
    backbone = make_unet(SMALL)
    backbone.compile_blocks()
    torch._dynamo.config.recompile_limit = 1
    with pytest.raises(Exception, match="recompile_limit"), torch.no_grad():
        backbone(torch.zeros(1, 4, 8, 8), torch.zeros(1, 20, 64))
