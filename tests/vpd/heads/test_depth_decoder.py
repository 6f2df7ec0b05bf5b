"""The depth head without a backbone: sizes, initial weights, names and refusals."""

from __future__ import annotations

import pytest
import torch

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.depth_decoder import DepthDecoder


def spec(channels=(32, 64, 48, 48), tokens=(0, 0, 0, 0)):
    levels = zip((1, 2, 3, 4), channels, tokens, strict=True)
    return FeatureSpec(tuple(Level(f"f{i}", c, 4 << i, t) for i, c, t in levels))


def features(latent_h, latent_w, widths=(32, 64, 48, 48), batch=1):
    """What a UNet gives for a latent: each level half of the finer one, rounded up."""
    made = []
    for width in widths:
        made.append(torch.randn(batch, width, latent_h, latent_w))
        latent_h, latent_w = -(-latent_h // 2), -(-latent_w // 2)
    return made


def small(**options):
    torch.manual_seed(0)
    return DepthDecoder(spec(), **({"width": 32, "filters": (8, 8, 8), "hidden": 8} | options)).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("latent", "out"),
    [
        ((8, 8), (64, 64)),
        ((16, 8), (97, 40)),  # content ends inside a cell
        ((8, 12), (60, 90)),
        ((10, 7), (80, 56)),  # latent sides that are no multiples of 8
        ((16, 16), (33, 128)),
    ],
)
def test_any_size_comes_out_as_asked(latent, out):
    depth_m = small()(features(*latent), out)
    assert depth_m.shape == (1, 1, *out)
    assert depth_m.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize(("content", "cells"), [(64, 2), (65, 3), (96, 3), (97, 4), (128, 4)])
def test_the_fused_map_is_cut_to_the_cells_that_the_output_touches(content, cells):
    """Outside them the features may be anything."""
    head, seen = small(), []
    head.deconv_layers.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape))
    maps = features(16, 16)
    fused = head.fuse(maps)
    first = head(maps, (content, 128))
    assert seen[0][-2:] == (cells, 4)
    spoiled = fused.clone()
    spoiled[:, :, cells:] = 1e3
    head.fuse = lambda _: spoiled
    assert torch.equal(head(maps, (content, 128)), first)


@torch.no_grad()
def test_prediction_lies_between_zero_and_the_maximum_and_starts_in_the_middle():
    for maximum in (10.0, 80.0):
        depth_m = small(max_depth_m=maximum)(features(8, 8), (64, 64))
        torch.testing.assert_close(depth_m, torch.full_like(depth_m, maximum / 2), rtol=1e-2, atol=0)
        head = small(max_depth_m=maximum)
        head.last_layer_depth[2].bias.fill_(1e3)
        assert head(features(8, 8), (64, 64)).max() == maximum


def test_initial_weights_are_the_published_ones():
    torch.manual_seed(0)
    for init, last in (("vpd", 0.001), ("mmseg", 0.02)):
        head = DepthDecoder(spec((64, 64, 64, 64)), width=256, hidden=64, init=init)
        expected = {
            "layer1.0": 0.02,
            "layer1.3": 0.02,
            "layer2.0": 0.02,
            "out_layer.0": 0.02,
            "deconv_layers.0": 0.001,
            "deconv_layers.6": 0.001,
            "conv_layers.0": 0.001,
            "last_layer_depth.0": last,
        }
        for name, std in expected.items():
            module = head.get_submodule(name)
            assert module.weight.std().item() == pytest.approx(std, rel=0.05), name
            assert module.bias is None or module.bias.abs().max() == 0
        assert all((head.get_submodule(n).weight == 1).all() for n in ("layer1.1", "deconv_layers.1", "conv_layers.1"))


def test_at_published_widths_the_parameters_are_the_published_number():
    """docs/methods/depth.md#head: 12.72M new parameters, 1.181M of them the text adapter's and 768 its gain."""
    with torch.device("meta"):
        head = DepthDecoder(spec((320, 640, 1280, 1280)))
    counts = {name: sum(p.numel() for p in module.parameters()) / 1e6 for name, module in head.named_children()}
    assert counts["layer1"] == pytest.approx(1.844, abs=5e-4)
    assert counts["layer2"] == pytest.approx(3.687, abs=5e-4)
    assert counts["out_layer"] == pytest.approx(5.411, abs=5e-4)
    assert counts["deconv_layers"] + counts["conv_layers"] == pytest.approx(0.261, abs=5e-4)
    assert counts["last_layer_depth"] == pytest.approx(0.334, abs=5e-4)


@torch.no_grad()
def test_map_channels_of_any_level_are_read():
    tokens = (1, 2, 3, 0)
    head = DepthDecoder(spec(tokens=tokens), width=32, filters=(8,), kernels=(4,), hidden=8).eval()
    maps = features(8, 8, widths=[c + t for c, t in zip((32, 64, 48, 48), tokens, strict=True)])
    assert head(maps, (64, 64)).shape == (1, 1, 64, 64)


@torch.no_grad()
@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16), (16,), (32, 64), (4, 8, 16, 32, 64)])
def test_levels_of_any_number_and_stride_are_fused(strides):
    levels = tuple(Level(f"f{i}", 32, stride) for i, stride in enumerate(strides, 1))
    head = DepthDecoder(FeatureSpec(levels), width=32, filters=(8,), kernels=(2,), hidden=8).eval()
    maps = [torch.randn(1, 32, -(-96 // stride), -(-128 // stride)) for stride in strides]
    assert head.fuse(maps).shape == (1, 32, 3, 4)
    assert head(maps, (96, 100)).shape == (1, 1, 96, 100)


@torch.no_grad()
@pytest.mark.parametrize("kernels", [(2, 2), (3, 3), (4, 4), (4, 3, 2, 2, 2), ()])
def test_every_kernel_doubles_exactly(kernels):
    head = small(kernels=kernels, filters=(8,) * len(kernels))
    assert head(features(8, 8), (64, 64)).shape == (1, 1, 64, 64)


@torch.no_grad()
def test_more_than_the_features_show_is_refused():
    with pytest.raises(ConfigError, match=r"\(65, 64\) pixels are asked for, the features show \(64, 64\)"):
        small()(features(8, 8), (65, 64))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: DepthDecoder(FeatureSpec(spec().levels[3:])),
            r"strides \[64\], expected powers of two, .* 32 at most",
        ),
        (lambda: DepthDecoder(FeatureSpec((Level("f1", 32, 12),))), r"strides \[12\], expected powers of two"),
        (lambda: small(width=40), r"widths \[40, 32\] .* multiples of 16"),
        (lambda: DepthDecoder(spec((24, 64, 48, 48))), r"24\] .*finer levels.* multiples of 16"),
        (lambda: small(kernels=(2, 2)), "as many of each"),
        (lambda: small(kernels=(2, 2, 5)), r"kernels out of \[2, 3, 4\]"),
        (lambda: small(kernels=(2,) * 6, filters=(8,) * 6), "at most 5"),
        (lambda: small(init="torch"), "init 'torch' is unknown; choose one of vpd, mmseg"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, match):
    with pytest.raises(ConfigError, match=match):
        make()
