"""Heads that are compiled as one region: traced whole, the gradients they had, the same names, and no fallback."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.tiny_pipelines import write_tiny_encoders
from tests.tracing import traced_only
from vpd.backbones import FeatureSpec, Level
from vpd.heads import depth_decoder, fpn, heat_maps, label_latent, prompt_depth, refer_decoder, upernet
from vpd.model.perception import Perception

TOKENS, WIDTH, SIZE_PX = 7, 32, (128, 128)
LEVELS = tuple(Level(f"f{i + 1}", 32 if i < 2 else 64, 8 << i, TOKENS) for i in range(4))
SPEC = FeatureSpec(LEVELS, tokens=TOKENS, context_width=WIDTH)
HEADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int] | None]] = {
    "refer": (lambda: refer_decoder.build(SPEC, hidden=16), SIZE_PX),
    "seg": (lambda: fpn.build(SPEC, classes=5, channels=16), None),
    "depth": (lambda: depth_decoder.build(SPEC, width=32, hidden=16), SIZE_PX),
    "pose": (lambda: heat_maps.build(SPEC, keypoints=TOKENS, width=32), None),
    "Meta Prompts, depth": (lambda: prompt_depth.build(SPEC, hidden=16), SIZE_PX),
    "Meta Prompts, seg": (lambda: upernet.build(SPEC, classes=5, channels=16, auxiliary_channels=16), None),
}


class NoBackbone(nn.Module):
    """What `Perception` asks of one when it is made."""

    def check_passes(self, passes: int | None) -> None: ...


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    with traced_only():
        yield


def model_with(head: nn.Module) -> Perception:
    return Perception(NoBackbone(), None, head)


def made_up(batch: int, view_px: tuple[int, int]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Features of a view, and the context."""
    draw = torch.Generator().manual_seed(1)
    features = [
        torch.randn(batch, level.width, *(side // level.stride for side in view_px), generator=draw) for level in LEVELS
    ]
    return features, torch.randn(batch, TOKENS, WIDTH, generator=draw)


def gradients(head: nn.Module, size_px: tuple[int, int] | None, batch: int = 2) -> dict[str, torch.Tensor | None]:
    """Of what a head gives for made-up features, in training: of its weights, and of the features."""
    features, context = made_up(batch, SIZE_PX)
    for feature in features:
        feature.requires_grad_()
    torch.manual_seed(2)  # of dropout
    outputs = head(features, size_px, context)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    torch.stack([one.square().mean() for one in outputs]).sum().backward()
    found = {name: weight.grad for name, weight in head.named_parameters()}
    return found | {level.name: feature.grad for level, feature in zip(LEVELS, features, strict=True)}


@pytest.mark.parametrize("name", HEADS)
def test_a_compiled_head_has_the_gradients_and_names_it_had(name: str) -> None:
    make, size_px = HEADS[name]
    torch.manual_seed(0)
    plain = make().train()
    torch.manual_seed(0)
    head = make().train()
    model = model_with(head)
    model.compile_head()
    torch._dynamo.utils.counters.clear()
    found, expected = gradients(head, size_px), gradients(plain, size_px)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # whole
    assert list(head.state_dict()) == list(plain.state_dict())
    for key, gradient in expected.items():
        assert gradient is not None
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-8, msg=key)
    for key, value in plain.state_dict().items():  # what norms remember, too
        torch.testing.assert_close(head.state_dict()[key], value, rtol=1e-5, atol=1e-8, msg=key)


# The others resize as these do. A batch of one is a trace of its own, of seconds: with a size asked for, and without.
@pytest.mark.parametrize(("name", "smallest"), [("refer", 1), ("seg", 2), ("depth", 2), ("Meta Prompts, seg", 1)])
def test_an_evaluation_in_bfloat16_of_many_sizes_is_traced_a_few_times(name: str, smallest: int) -> None:
    make, size_px = HEADS[name]
    torch.manual_seed(0)
    plain = make().eval()
    head = copy.deepcopy(plain)
    model_with(head).compile_head()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for number in range(8):
            view_px = (128 + 64 * (number % 2), 128 + 64 * (number % 3))
            wanted_px = None if size_px is None else (view_px[0] - number, view_px[1] - 2 * number)
            features, context = made_up(smallest + number % 3, view_px)
            torch.testing.assert_close(head(features, wanted_px, context), plain(features, wanted_px, context))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3 + (smallest == 1)  # of eight sizes


def test_a_compiled_head_that_decodes_latents_gives_maps_and_gradients_as_a_plain_one(tmp_path: Path) -> None:
    write_tiny_encoders(tmp_path)
    own = FeatureSpec((Level("latent", 4, 8, TOKENS),), tokens=TOKENS, context_width=WIDTH)
    plain = label_latent.build(own, str(tmp_path), latent_scale=0.18215, decodes=True)
    head = label_latent.build(own, str(tmp_path), latent_scale=0.18215, decodes=True)
    model_with(head).compile_head()
    torch._dynamo.utils.counters.clear()
    latents, context = torch.randn(2, 4, 4, 4), torch.randn(2, TOKENS, WIDTH)
    found, expected = (latents.clone().requires_grad_() for _ in range(2))
    for given, one in ((found, head.train()), (expected, plain.train())):
        one([given], None, context).square().mean().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # whole
    assert expected.grad is not None
    assert expected.grad.abs().max() > 0
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-7)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        given = [torch.randn(1, 4, 4, 6)]
        torch.testing.assert_close(head.eval()(given, None, context), plain.eval()(given, None, context))
    assert list(head.state_dict()) == []


def test_more_shapes_than_the_compiler_keeps_are_an_error_and_not_a_fallback() -> None:
    make, size_px = HEADS["depth"]
    head = make()
    model_with(head).compile_head()
    config: Any = torch._dynamo.config
    config.recompile_limit = 1
    gradients(head, size_px)
    with pytest.raises(Exception, match="recompile_limit"):
        gradients(head, size_px, batch=3)
