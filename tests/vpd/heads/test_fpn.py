"""The segmentation head: published names, sizes and start values, at any class count."""

from __future__ import annotations

import pytest
import torch

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.fpn import SemanticFpn
from vpd.heads.ops.resize import resize

SD15 = (320, 640, 1280, 1280)


def spec(channels=(8, 8, 16, 16), tokens=0):
    maps = (0, tokens, tokens, 0)
    return FeatureSpec(tuple(Level(f"f{i + 1}", c, 8 << i, maps[i]) for i, c in enumerate(channels)))


def features(spec, height, width, batch=2):
    torch.manual_seed(0)
    sizes = [(-(-height // level.stride), -(-width // level.stride)) for level in spec.levels]
    return [torch.randn(batch, level.width, *size) for level, size in zip(spec.levels, sizes, strict=True)]


def test_the_published_head_has_the_published_number_of_parameters():
    with torch.device("meta"):
        head = SemanticFpn(spec(SD15, tokens=150), classes=150)
    millions = {name: round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for name, part in head.named_children()}
    assert millions == {"neck": 3.34, "decode_head": 4.17}
    assert [conv.conv.in_channels for conv in head.neck.lateral_convs] == [320, 790, 1430, 1280]


def test_names_and_shapes_are_those_of_official_checkpoints(seg_weights):
    head = SemanticFpn(spec((32, 64, 128, 128), tokens=13), classes=13, channels=32)
    official = {k: v.shape for k, v in seg_weights.items() if k.startswith(("neck.", "decode_head."))}
    assert {k: v.shape for k, v in head.state_dict().items()} == official


@pytest.mark.parametrize("classes", [1, 2, 19, 27, 150])
def test_any_class_count_gives_float32_logits_at_an_eighth(classes):
    head = SemanticFpn(spec(tokens=classes), classes, channels=8)
    inputs = features(spec(tokens=classes), 64, 128)
    assert head(inputs, (8, 16)).shape == (2, classes, 8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(inputs, (8, 16)).dtype == torch.float32


@pytest.mark.parametrize("size", [(64, 64), (72, 104), (200, 88)])
def test_sides_need_not_be_multiples_of_the_coarsest_stride(size):
    head = SemanticFpn(spec(), 3, channels=8).eval()
    logits = head(features(spec(), *size), (size[0] // 8, size[1] // 8))
    assert logits.shape == (2, 3, size[0] // 8, size[1] // 8)
    torch.testing.assert_close(head(features(spec(), *size), (50, 30)), resize(logits, (50, 30)))


def test_start_values_are_those_of_mmsegmentation():
    torch.manual_seed(0)
    head = SemanticFpn(spec(SD15), classes=150)
    weights = {name: p.detach() for name, p in head.named_parameters()}
    for name, weight in weights.items():
        if name.endswith("bias"):
            assert not weight.any(), name
    lateral, output = weights["neck.lateral_convs.1.conv.weight"], weights["neck.fpn_convs.0.conv.weight"]
    assert lateral.abs().max() == pytest.approx((6 / (640 + 256)) ** 0.5, rel=1e-3)  # Xavier, uniform
    assert output.abs().max() == pytest.approx((6 / (2 * 256 * 9)) ** 0.5, rel=1e-3)
    assert weights["decode_head.scale_heads.2.2.conv.weight"].std() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert weights["decode_head.conv_seg.weight"].std() == pytest.approx(0.01, rel=0.03)


def test_dropout_takes_whole_channels_and_only_in_training():
    head = SemanticFpn(spec(), 3, channels=8, dropout=0.5)
    inputs = features(spec(), 64, 64)
    seen = []
    head.decode_head.conv_seg.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    head.train()(inputs, (8, 8))
    head.eval()(inputs, (8, 8))
    dropped = [(x.flatten(2) == 0).all(dim=2) for x in seen]
    assert dropped[0].any()
    assert not dropped[0].all()
    assert not dropped[1].any()


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="at least one class, found classes=0"):
        SemanticFpn(spec(), 0)
    levels = FeatureSpec((Level("f1", 8, 8), Level("f2", 8, 32)))
    with pytest.raises(ConfigError, match=r"strides are \[8, 32\]"):
        SemanticFpn(levels, 2)
