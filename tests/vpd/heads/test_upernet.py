"""UPerNet on features compared with prompts: published names, sizes and start values, at any size and class count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffusion_perception import plugins
from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.ops.resize import resize
from vpd.heads.upernet import UPerNet

SD15 = (320, 640, 1280, 1280)


def spec(channels: tuple[int, ...] = (8, 8, 16, 16), tokens: int = 5, width: int = 32) -> FeatureSpec:
    return FeatureSpec(tuple(Level(f"f{i + 1}", c, 8 << i) for i, c in enumerate(channels)), tokens, width)


def small(**options: Any) -> UPerNet:
    torch.manual_seed(1)
    return UPerNet(spec(), **{"classes": 3, "channels": 8, "auxiliary_channels": 8, **options})


def inputs(height: int, width: int, batch: int = 2) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Features of `spec()` for a picture of a size, and one shared context."""
    torch.manual_seed(0)
    sizes = [(-(-height // level.stride), -(-width // level.stride)) for level in spec().levels]
    levels = [torch.randn(batch, level.width, *size) for level, size in zip(spec().levels, sizes, strict=True)]
    return levels, torch.randn(1, spec().tokens, spec().context_width)


def test_the_published_head_has_the_published_number_of_parameters() -> None:
    """24.34M of the widening convolutions (docs/methods/meta_prompts.md#segmentation-head); the rest by hand."""
    with torch.device("meta"):
        head = UPerNet(spec(SD15, tokens=150, width=768), classes=150)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in head.named_children()}
    assert round(sum(n for name, n in counts.items() if name.startswith("upconv")) / 1e6, 2) == 24.34
    assert head.decode_head.bottleneck.conv.weight.shape == (512, 150 + 4 * 512, 3, 3)
    assert head.decode_head.fpn_bottleneck.conv.weight.shape == (512, 2048, 3, 3)
    norms = 2 * 512
    expected = 4 * (150 * 512 + norms) + (2198 * 512 * 9 + norms) + 3 * (150 * 512 + norms)
    expected += 3 * (512 * 512 * 9 + norms) + (2048 * 512 * 9 + norms) + 512 * 150 + 150
    assert counts["decode_head"] == expected
    assert counts["auxiliary_head"] == 150 * 512 * 9 + norms + 512 * 150 + 150


def test_names_and_shapes_are_those_of_official_checkpoints(meta_seg_weights: dict[str, torch.Tensor]) -> None:
    head = UPerNet(spec((32, 64, 128, 128), tokens=11, width=64), classes=11, channels=16, auxiliary_channels=16)
    found = {name: tensor.shape for name, tensor in head.state_dict().items()}
    auxiliary = {name for name in found if name.startswith("auxiliary_head.")}
    assert {n: s for n, s in found.items() if n not in auxiliary} == {
        name: tensor.shape for name, tensor in meta_seg_weights.items() if name not in ("t1", "t2", "meta_prompts")
    }
    assert {name.removeprefix("auxiliary_head.").rsplit(".", 1)[0] for name in auxiliary} == {
        "convs.0.conv", "convs.0.bn", "conv_seg"
    }  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2, 19, 150])
def test_logits_come_at_a_quarter_in_float32_whatever_the_class_count(classes: int) -> None:
    head = small(classes=classes).eval()
    features, context = inputs(64, 96)
    assert head(features, None, context).shape == (2, classes, 16, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features, None, context).dtype == torch.float32
        assert [part.dtype for part in head.train()(features, None, context)] == [torch.float32] * 2


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (200, 88)])
def test_sides_need_not_be_multiples_of_the_coarsest_stride(size: tuple[int, int]) -> None:
    head = small().eval()
    features, context = inputs(*size)
    logits = head(features, None, context)
    assert logits.shape == (2, 3, size[0] // 4, size[1] // 4)
    torch.testing.assert_close(head(features, (50, 30), context), resize(logits, (50, 30)))


def test_training_gives_the_auxiliary_logits_of_the_chosen_level_as_well() -> None:
    features, context = inputs(64, 96)
    main, auxiliary = small().train()(features, (64, 96), context)
    assert (main.shape, auxiliary.shape) == ((2, 3, 64, 96), (2, 3, 4, 6))  # at its own size: half of the stride of 32
    assert small(auxiliary_level=0).train()(features, None, context)[1].shape == (2, 3, 16, 24)
    alone = small(auxiliary_channels=0).train()
    assert alone(features, None, context).shape == (2, 3, 16, 24)
    assert not [name for name in alone.state_dict() if name.startswith("auxiliary")]


def test_levels_are_doubled_widened_and_compared_with_every_token() -> None:
    head = small()
    features, _ = inputs(64, 64)
    contexts = torch.randn(2, 5, 32)  # one for each sample
    found = head.compared(features, contexts)
    for number, (level, result) in enumerate(zip(features, found, strict=True), 1):
        convolution, norm, _ = head.get_submodule(f"upconv{number}").children()
        doubled = F.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
        widened = F.relu(norm(convolution(doubled)))  # [B, D, 2h, 2w]
        expected = torch.stack([torch.tensordot(c, w, dims=1) for c, w in zip(contexts, widened, strict=True)])
        torch.testing.assert_close(result, expected)


def test_start_values_are_those_of_the_published_code() -> None:
    torch.manual_seed(0)
    head = UPerNet(spec((32, 32, 64, 64), tokens=20, width=64), classes=30, channels=256)
    weights = {name: p.detach() for name, p in head.named_parameters()}
    bottleneck = weights["decode_head.fpn_bottleneck.conv.weight"]
    assert bottleneck.std() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)  # Kaiming, fan out
    assert weights["decode_head.lateral_convs.0.conv.weight"].std() == pytest.approx((2 / 256) ** 0.5, rel=0.05)
    for part in ("decode_head", "auxiliary_head"):
        assert weights[f"{part}.conv_seg.weight"].std() == pytest.approx(0.01, rel=0.05)
        assert not weights[f"{part}.conv_seg.bias"].any()
    bound = (1 / (64 * 9)) ** 0.5  # torch's own, as the published code leaves it
    assert bound * 0.99 < weights["upconv3.0.weight"].abs().max() <= bound


def test_norms_can_be_exchanged_and_dropout_works_in_training_only() -> None:
    grouped = small(norm=lambda channels: nn.GroupNorm(2, channels))
    assert not [m for m in grouped.modules() if isinstance(m, nn.BatchNorm2d)]
    head = small(dropout=0.5, channels=64)
    features, context = inputs(64, 64)
    seen: list[torch.Tensor] = []
    head.decode_head.conv_seg.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    head.train()(features, None, context)
    head.eval()(features, None, context)
    dropped = [(x.flatten(2) == 0).all(dim=2) for x in seen]
    assert 0.3 < dropped[0].float().mean() < 0.8
    assert dropped[1].float().mean() < 0.1


def test_it_is_found_by_name_with_the_options_of_its_signature() -> None:
    named = {"name": "upernet", "channels": 8}
    assert isinstance(plugins.build_plugin(plugins.HEADS, named, "model.head", spec(), classes=3), UPerNet)
    with pytest.raises(ConfigError, match=r"unknown setting 'model.head.channel'. Did you mean 'channels'\?"):
        plugins.build_plugin(plugins.HEADS, {"name": "upernet", "channel": 8}, "model.head", spec(), classes=3)


@pytest.mark.parametrize(
    ("changes", "options", "match"),
    [
        ({}, {"classes": 0}, "at least one class, found classes=0"),
        ({"tokens": 0}, {}, "this backbone states none"),
        ({"width": 40}, {}, "a context 40 wide; expected a multiple of 16"),
        ({"channels": (8,)}, {}, r"strides are \[8\]; expected two or more"),
        ({}, {"auxiliary_level": 4}, "auxiliary_level 4; expected 0 to 3"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        UPerNet(spec(**changes), **{"classes": 3, "channels": 8, **options})
