"""The decoder of referring segmentation."""

from __future__ import annotations

import pytest
import torch

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.refer_decoder import ReferDecoder


def spec(channels=(320, 640, 1280, 1280), tokens=(0, 40, 40, 0)):
    return FeatureSpec(
        tuple(Level(f"f{i + 1}", c, 8 << i, t) for i, (c, t) in enumerate(zip(channels, tokens, strict=True)))
    )


def features(spec, height, width, batch=2):
    sides = [(-(-height // level.stride), -(-width // level.stride)) for level in spec.levels]
    return [torch.randn(batch, level.width, *side) for level, side in zip(spec.levels, sides, strict=True)]


@pytest.mark.parametrize(("tokens", "millions"), [(40, 39.18), (77, 39.60)])
def test_full_size_has_the_published_number_of_parameters(tokens, millions):
    with torch.device("meta"):
        head = ReferDecoder(spec(tokens=(0, tokens, tokens, 0)))
    assert round(sum(p.numel() for p in head.parameters()) / 1e6, 2) == millions


def test_names_and_shapes_are_those_of_official_checkpoints(refer_weights):
    head = ReferDecoder(spec((32, 64, 128, 128)))
    official = {k.removeprefix("classifier."): v for k, v in refer_weights.items() if k.startswith("classifier.")}
    assert {k: v.shape for k, v in head.state_dict().items()} == {k: v.shape for k, v in official.items()}


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (80, 112)])
def test_logits_have_the_asked_size_whatever_the_aspect(size):
    small = spec((8, 8, 16, 16))
    logits = ReferDecoder(small)(features(small, *size), size)
    assert logits.shape == (2, 2, *size)
    assert logits.dtype == torch.float32


def test_corners_of_the_logits_are_the_corners_of_the_decoder_output():
    """align_corners=True, in one sentence; with False the corners would be blends or copies of other positions."""
    small = spec((8, 8, 16, 16))
    head, inputs = ReferDecoder(small).eval(), features(small, 64, 64)
    grids = []
    head.conv1_1.register_forward_hook(lambda _m, _i, out: grids.append(out))
    logits = head(inputs, (57, 91))
    for y in (0, -1):
        for x in (0, -1):
            torch.testing.assert_close(logits[..., y, x], grids[0][..., y, x])
    middle = head(inputs, (15, 15))[..., 1, 0]  # grid of 8: sample 1 of 15 lies half-way between rows 0 and 1
    torch.testing.assert_close(middle, (grids[0][..., 0, 0] + grids[0][..., 1, 0]) / 2)


def test_logits_stay_float32_under_autocast():
    small = spec((8, 8, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        assert ReferDecoder(small)(features(small, 64, 64), (64, 64)).dtype == torch.float32


def test_hidden_and_norm_can_be_chosen():
    head = ReferDecoder(spec((8, 8, 16, 16)), classes=5, hidden=12, norm=lambda n: torch.nn.GroupNorm(4, n))
    assert head.conv1_1.weight.shape == (5, 12, 1, 1)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in head.modules())


def test_one_level_is_refused():
    with pytest.raises(ConfigError, match="at least two levels"):
        ReferDecoder(spec((8,), (0,)))
