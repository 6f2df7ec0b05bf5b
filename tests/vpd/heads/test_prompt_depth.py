"""The head of Meta Prompts on levels of other backbones; on the published ones: tests/vpd/model."""

from __future__ import annotations

import pytest
import torch

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.prompt_depth import PromptDepth


def head_of(strides: tuple[int, ...]) -> PromptDepth:
    levels = tuple(Level(f"f{number}", 48, stride) for number, stride in enumerate(strides, 1))
    spec = FeatureSpec(levels, tokens=4, context_width=32)
    return PromptDepth(spec, neck_filters=8, filters=(8,), kernels=(2,), hidden=8).eval()


@torch.no_grad()
@pytest.mark.parametrize("strides", [(8,), (8, 16, 32), (8, 32, 128)])
def test_levels_of_any_number_are_fused_in_the_finest(strides: tuple[int, ...]) -> None:
    head = head_of(strides)
    maps = [torch.randn(1, 48, -(-96 // stride), -(-128 // stride)) for stride in strides]
    assert head.fuse(maps).shape == (1, 32, 12, 16)
    assert head(maps, (96, 100), torch.randn(1, 4, 32)).shape == (1, 1, 96, 100)


@pytest.mark.parametrize("strides", [(4, 8, 16), (8, 8, 16), (16, 32)])
def test_a_finest_level_at_another_stride_is_refused(strides: tuple[int, ...]) -> None:
    """A finer one would be cut to a corner of the picture, and shown for all of it."""
    with pytest.raises(ConfigError, match=r"levels have strides \[.*\], expected"):
        head_of(strides)
