"""The backbone: against recordings of the official wrapper, and against diffusers' own forward pass."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shards.errors import ConfigError
from vpd.backbones import sd_unet
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.training.memory.activations import saving_into

LDM = "model.diffusion_model."
FEATURE_ATOL, MAP_ATOL = 4e-4, 1e-5  # docs/methods/parity.md#tolerances


def assert_near(found, expected, atol):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@torch.no_grad()
def test_default_features_and_maps_equal_the_official_wrapper(make_unet, load_ldm, golden_wrapper, sd_weights):
    features = load_ldm(make_unet(), sd_weights, LDM)(golden_wrapper["latents"], golden_wrapper["context"])
    for i, channels in enumerate((32, 64, 128, 128)):
        expected = golden_wrapper[f"default.feat{i}"]
        found = golden_wrapper.kept(f"default.feat{i}", features[i])
        assert_near(found[:, :channels], expected[:, :channels], FEATURE_ATOL)
        assert_near(found[:, channels:], expected[:, channels:], MAP_ATOL)


@torch.no_grad()
@pytest.mark.parametrize("place", ["up", "down"])
def test_maps_of_one_path_equal_the_official_selection(place, make_unet, load_ldm, golden_wrapper, sd_weights):
    backbone = load_ldm(make_unet(attention_maps=place), sd_weights, LDM)
    features = backbone(golden_wrapper["latents"], golden_wrapper["context"])
    for level, channels, side in ((1, 64, 32), (2, 128, 16)):
        name = f"sel_{place}_cross.attn{side}"
        assert_near(golden_wrapper.kept(name, features[level][:, channels:]), golden_wrapper[name], MAP_ATOL)


@torch.no_grad()
def test_finest_maps_equal_the_official_larger_limit(make_unet, load_ldm, golden_wrapper, sd_weights):
    backbone = load_ldm(make_unet(map_levels=(1, 2, 4)), sd_weights, LDM)
    features = backbone(golden_wrapper["latents"], golden_wrapper["context"])
    found = golden_wrapper.kept("max_attn.attn64", features[0][:, 32:])
    assert_near(found, golden_wrapper["max_attn.attn64"], MAP_ATOL)


@torch.no_grad()
def test_non_square_features_equal_the_official_ones_and_carry_maps(make_unet, load_ldm, golden_wrapper, sd_weights):
    latents, context = golden_wrapper["nonsquare.latents"], golden_wrapper["context"][:1]
    features = load_ldm(make_unet(), sd_weights, LDM)(latents, context)
    for i, found in enumerate(features):
        expected = golden_wrapper[f"nonsquare_noattn.feat{i}"]
        found = golden_wrapper.kept(f"nonsquare_noattn.feat{i}", found[:, : expected.shape[1]])
        assert_near(found, expected, FEATURE_ATOL)
    assert features[1].shape == (1, 64 + 20, 8, 12)  # the official code fails here


@torch.no_grad()
@pytest.mark.parametrize("mistake", ["timestep", "latent scale", "one path only"])
def test_a_single_mistake_is_far_outside_the_tolerance(mistake, make_unet, load_ldm, golden_wrapper, sd_weights):
    options = {"timestep": {"timestep": 0}, "one path only": {"attention_maps": "up"}}.get(mistake, {})
    latents = golden_wrapper["latents"] * (0.18215 if mistake == "latent scale" else 1.0)
    features = load_ldm(make_unet(**options), sd_weights, LDM)(latents, golden_wrapper["context"])
    wrong = (golden_wrapper.kept("default.feat1", features[1]) - golden_wrapper["default.feat1"]).abs().max()
    assert wrong > 20 * FEATURE_ATOL


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (10, 14), (18, 30), (2, 2)])
def test_taps_are_what_diffusers_own_pass_computes_at_any_even_size(size, make_unet):
    """Hooks on an untouched diffusers model are the second opinion; sizes include sides that are not multiples of 8."""
    backbone = make_unet()
    reference = UNet2DConditionModel(**dict(backbone.unet.config)).eval()
    reference.load_state_dict(backbone.unet.state_dict(), strict=False)  # its output head stays random
    seen = {}
    tapped = {
        "f4": reference.up_blocks[0].resnets[1],
        "f3": reference.up_blocks[1].attentions[1],
        "f2": reference.up_blocks[2].attentions[1],
        "f1": reference.up_blocks[3],
    }
    for name, module in tapped.items():
        module.register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out[0] if isinstance(out, tuple) else out})
        )
    latents, context = torch.randn(2, 4, *size), torch.randn(2, 7, 64)
    reference(latents, 1, context)
    features = backbone(latents, context)
    for level, found in zip(backbone.spec(7).levels, features, strict=True):
        assert_near(found[:, : level.channels], seen[level.name], FEATURE_ATOL)
        assert found.shape[1] == level.width
        if level.map_tokens:
            assert_near(found[:, level.channels :].sum(1), torch.ones(2, *found.shape[-2:]), 1e-5)


@torch.no_grad()
def test_maps_of_a_tall_image_are_laid_out_by_rows(make_unet):
    """The map of a level is its layers' head-mean, at the true height and width."""
    backbone = make_unet(attention_maps="down", map_levels=(4,))
    layers = [attention.transformer_blocks[0].attn2 for attention in backbone.unet.down_blocks[2].attentions]
    inputs = []
    for layer in layers:
        layer.register_forward_pre_hook(
            lambda _m, args, kwargs: inputs.append((args[0], kwargs["encoder_hidden_states"])), with_kwargs=True
        )
    found = backbone(torch.randn(1, 4, 32, 8), torch.randn(1, 5, 64))[2][:, 128:]  # [1, 5, 8, 2]
    mean = torch.zeros(5, 8, 2)
    for layer, (pixels, tokens) in zip(layers, inputs, strict=True):
        query, key = layer.to_q(pixels)[0].view(8, 2, 8, 16), layer.to_k(tokens)[0].view(5, 8, 16)
        scores = torch.einsum("yxhd,thd->hyxt", query, key) / 16**0.5
        mean += scores.softmax(-1).mean(0).permute(2, 0, 1) / 2
    assert_near(found[0], mean, 1e-6)


def test_channels_and_taps_follow_the_config(make_unet):
    """Three levels, one layer a block, odd widths: nothing is tied to SD 1.5."""
    backbone = make_unet(
        {
            "block_out_channels": (32, 96, 64),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": 24,
        },
        map_levels=(2,),
    )
    features = backbone(torch.randn(2, 4, 8, 12), torch.randn(2, 6, 24))
    assert [tuple(f.shape[1:]) for f in features] == [(32, 8, 12), (96 + 6, 4, 6), (64, 2, 3)]
    assert backbone.spec(6).widths == (32, 102, 64)
    assert [level.stride for level in backbone.spec(6).levels] == [8, 16, 32]
    assert backbone.context_width == 24


def test_middle_maps_join_the_coarsest_level(make_unet):
    backbone = make_unet(attention_maps=["mid"], map_levels=[8])
    features = backbone(torch.randn(1, 4, 16, 16), torch.randn(1, 3, 64))
    assert [f.shape[1] for f in features] == [32, 64, 128, 131] == list(backbone.spec(3).widths)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_gets_a_gradient(checkpointing, make_unet):
    """DDP waits for every parameter; one without a gradient would hang or need a search for unused ones."""
    backbone = make_unet(gradient_checkpointing=checkpointing).train()
    features = backbone(torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64))
    sum(f.square().mean() for f in features).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("attention_grad", [False, True])
def test_gradient_checkpointing_changes_neither_gradients_nor_maps(attention_grad, make_unet):
    latents, context = torch.randn(2, 4, 16, 16), torch.randn(2, 5, 64)
    results = []
    for checkpointing in (False, True, [1, 4]):
        backbone = make_unet(attention_grad=attention_grad, gradient_checkpointing=checkpointing)
        tokens = context.clone().requires_grad_()
        features = backbone(latents, tokens)
        sum((f * f).mean() for f in features).backward()
        results.append((features, tokens.grad, {name: p.grad for name, p in backbone.named_parameters()}))
    for features, of_tokens, of_weights in results[1:]:
        for plain, recomputed in zip(results[0][0], features, strict=True):
            assert torch.equal(plain, recomputed)
        torch.testing.assert_close(results[0][1], of_tokens)
        torch.testing.assert_close(results[0][2], of_weights)


def test_the_finest_level_alone_can_be_recomputed(make_unet):
    """It keeps most, and every level that is recomputed keeps less."""
    kept = []
    for levels in (False, [1], [1, 2], True):
        saved: dict[int, torch.Tensor] = {}
        backbone = make_unet(gradient_checkpointing=levels)
        with saving_into(saved):
            backbone(torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64))
        weights = {parameter.untyped_storage()._cdata for parameter in backbone.parameters()}
        kept.append(sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in weights))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] - kept[1] > kept[1] - kept[3]


def test_a_level_that_does_not_exist_cannot_be_recomputed(make_unet):
    with pytest.raises(ConfigError, match=r"gradient_checkpointing names 3.* some of \[1, 2, 4, 8\]"):
        make_unet(gradient_checkpointing=[3])


@pytest.mark.parametrize(("attention_grad", "reaches"), [(False, False), (True, True)])
def test_attention_grad_decides_whether_a_loss_on_maps_reaches_the_queries(attention_grad, reaches, make_unet):
    """The third layer of an up block lies behind its tap: only a map carries gradient from f3 to it
    (docs/methods/parity.md#gradients)."""
    backbone = make_unet(attention_grad=attention_grad)
    features = backbone(torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64))
    features[2].square().mean().backward()
    behind = backbone.unet.up_blocks[1].attentions[2].transformer_blocks[0].attn2.to_q.weight.grad
    before = backbone.unet.up_blocks[1].attentions[1].transformer_blocks[0].attn2.to_q.weight.grad
    assert (behind is not None and behind.abs().max() > 0) == reaches
    assert before.abs().max() > 0


def test_features_do_not_depend_on_attention_grad(make_unet):
    inputs = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64)
    with torch.no_grad():
        for fused, explicit in zip(make_unet()(*inputs), make_unet(attention_grad=True)(*inputs), strict=True):
            assert_near(fused, explicit, 1e-4)


@pytest.mark.parametrize("attention_grad", [False, True])
def test_bfloat16_autocast_trains_and_keeps_maps_normalised(attention_grad, make_unet):
    backbone = make_unet(attention_grad=attention_grad).train()
    latents, context = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64)
    with torch.no_grad():
        exact = backbone(latents, context)
    with torch.autocast("cpu", torch.bfloat16):
        features = backbone(latents, context)
    torch.stack([f.float().square().mean() for f in features]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
    maps = features[2][:, 128:].float()
    assert_near(maps.sum(1), torch.ones_like(maps[:, 0]), 1e-2)
    assert_near(maps, exact[2][:, 128:], 1e-2)


def test_half_precision_inputs_are_accepted(make_unet):
    backbone = make_unet()
    features = backbone(torch.randn(1, 4, 8, 8).half(), torch.randn(1, 5, 64).half())
    assert all(f.dtype == torch.float32 for f in features)


def test_nothing_survives_a_call(make_unet):
    """Two calls in a row give the same maps, and the module's own attributes do not change."""
    backbone = make_unet()
    inputs = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 64)
    before = set(vars(backbone))
    first, second = backbone(*inputs), backbone(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert set(vars(backbone)) == before


def test_without_maps_levels_are_features_only(make_unet):
    backbone = make_unet(attention_maps="")
    assert [level.map_tokens for level in backbone.spec(40).levels] == [0, 0, 0, 0]
    assert [f.shape[1] for f in backbone(torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64))] == [32, 64, 128, 128]


def test_a_diffusers_folder_round_trips_through_build(make_unet, tmp_path):
    source = UNet2DConditionModel(**dict(make_unet().unet.config))
    source.save_pretrained(tmp_path / "unet")
    inputs = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64)
    with torch.no_grad():
        whole = sd_unet.build(str(tmp_path))(*inputs)
        bare = sd_unet.build(str(tmp_path / "unet"))(*inputs)
        reference = SdUnet(source)(*inputs)
    for a, b, c in zip(whole, bare, reference, strict=True):
        assert torch.equal(a, b)
        assert_near(a, c, 1e-4)


@pytest.mark.parametrize("model", ["{tmp}/missing", "{tmp}", "no such hub id"])
def test_a_model_that_cannot_be_loaded_is_one_clear_error(model, tmp_path):
    with pytest.raises(ConfigError, match=r"no usable unet in .*Expected a diffusers folder or a hub id") as error:
        sd_unet.build(model.format(tmp=tmp_path))
    assert "\n" not in str(error.value)


def test_incomplete_weights_are_refused_by_name(make_unet, tmp_path):
    from safetensors.torch import load_file, save_file

    UNet2DConditionModel(**dict(make_unet().unet.config)).save_pretrained(tmp_path / "unet")
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["mid_block.resnets.0.conv1.weight"]
    save_file(weights, file)
    with pytest.raises(ConfigError, match=r"1 missing keys, e\.g\. mid_block\.resnets\.0\.conv1\.weight"):
        sd_unet.build(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attention_maps": "up+side"}, r"selects no cross-attention layer for \['side'\]"),
        ({"map_levels": (2, 3)}, r"selects no cross-attention layer for \[3\]"),
        ({"map_levels": (2, 8)}, r"selects no cross-attention layer for \[8\]"),
        ({"attention_maps": "mid"}, "selects no cross-attention layer"),
    ],
)
def test_a_map_setting_that_selects_nothing_is_refused(options, match, make_unet):
    with pytest.raises(ConfigError, match=match):
        make_unet(**options)


def test_a_model_with_extra_conditioning_is_refused(make_unet):
    with pytest.raises(ConfigError, match="class_embed_type"):
        make_unet({"class_embed_type": "timestep"})


def test_build_offers_every_option_of_the_backbone():
    """A setting of the class that `build` does not pass on could not be reached from a configuration."""
    options = [name for name in inspect.signature(SdUnet).parameters if name != "unet"]
    assert [
        name for name in inspect.signature(sd_unet.build).parameters if name not in ("model", "revision")
    ] == options


def test_build_options_reach_the_backbone(make_unet, tmp_path):
    UNet2DConditionModel(**dict(make_unet().unet.config)).save_pretrained(tmp_path / "unet")
    assert json.loads((tmp_path / "unet" / "config.json").read_text())["cross_attention_dim"] == 64
    backbone = sd_unet.build(
        str(tmp_path),
        attention_maps="up",
        map_levels=[1],
        attention_grad=True,
        timestep=7,
        gradient_checkpointing=True,
    )
    assert backbone.kept == {("up", 1)}
    assert backbone.timestep == 7
    assert backbone.recomputed == {1, 2, 4, 8}
    assert all(processor.grad for processor in backbone.unet.attn_processors.values())
