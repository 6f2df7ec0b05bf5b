"""Meta Prompts as a configuration of the same backbone: passes, depth and gradients against the official code."""

from __future__ import annotations

import re

import pytest
import torch

from diffusion_perception.assembly.network import build_head
from shards.errors import ConfigError
from vpd.backbones.sd_unet.keys import unet_key
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig
from vpd.tasks.depth import task as depth
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import named_groups

UNET, VAE = "encoder.unet.unet.diffusion_model.", "encoder.encoder_vq."
LEARNED = {"attention_maps": "", "timestep": None, "resize_skips": True}


def local_name(name):
    """Our name of an official weight outside the VAE; None for the second names of the output head."""
    if name.startswith(UNET):
        return f"backbone.unet.{unet_key(name.removeprefix(UNET))}"
    name = name.removeprefix("encoder.").removeprefix("decoder.")
    if name.startswith("cross_unet_conv"):
        return None
    if found := re.fullmatch(r"(t|meta_prompts|text_adapter)(\d)(.*)", name):
        part = {"t": "times", "meta_prompts": "tokens", "text_adapter": "adapters"}[found[1]]
        return f"prompts.{part}.{int(found[2]) - 1}{found[3]}"
    return f"head.{name}"


@pytest.fixture
def prompted(make_unet):
    """A small model with learned prompts; options of the prompts."""

    def make(passes=3, count=5, checkpointing=False, **options):
        config = PromptConfig(count=count, passes=passes, **options)
        backbone = make_unet(output_head=passes > 1, gradient_checkpointing=checkpointing, **LEARNED)
        head = build_head(
            depth.build(view_fit="enlarged"), backbone.spec(count), name="prompt_depth", neck_filters=8, hidden=16
        )
        return Perception.conditioned(backbone, head, config, tokens=count)

    return make


@pytest.fixture
def official(make_unet, meta_depth_weights):
    """Our model with every weight of an official checkpoint, loaded strictly."""
    task = depth.build(view_fit="enlarged")
    backbone = make_unet(output_head=True, **LEARNED)
    head = build_head(task, backbone.spec(50), name="prompt_depth")
    model = Perception.conditioned(backbone, head, PromptConfig(count=50, passes=3), tokens=50)
    found = {local_name(name): value for name, value in meta_depth_weights.items() if not name.startswith(VAE)}
    found.pop(None)
    model.load_state_dict(found)
    return model.eval()


def close(found, expected, relative=1e-4):
    """Within `relative` of the largest recorded value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=relative * expected.abs().max().item())


@torch.no_grad()
def test_every_pass_and_the_depth_equal_the_official_ones(official, golden_meta_depth):
    latents = golden_meta_depth["step1.unet_in"]
    for number, (context, time) in enumerate(official.prompts, 1):
        close(latents, golden_meta_depth[f"step{number}.unet_in"])
        close(context, golden_meta_depth[f"step{number}.context"])
        close(time, golden_meta_depth[f"step{number}.t_emb"][:1])
        features = official.backbone(latents, context, time)
        if number == 1:
            close(features[0][:1, ::4], golden_meta_depth["step1.feat0_ch_every4"])
        latents = official.backbone.next_latents(features)
    last, states = official.features(golden_meta_depth["step1.unet_in"], None)
    for level, step in enumerate((4, 1, 1, 1)):
        found = golden_meta_depth.kept(f"last.feat{level}", last[level][:1, ::step])
        close(found, golden_meta_depth[f"last.feat{level}"])
    depth_m = official.head(last, (128, 192), states)
    close(golden_meta_depth.kept("pred_d_f64", depth_m), golden_meta_depth["pred_d_f64"])


@torch.no_grad()
def test_odd_sides_enlarge_the_skip_as_the_official_code_does(official, golden_meta_depth):
    context, time = next(iter(official.prompts))
    features = official.backbone(golden_meta_depth["odd.latents"], context, time)
    assert [tuple(f.shape[-2:]) for f in features] == [(24, 32), (12, 16), (6, 8), (3, 4)]
    for level, step in enumerate((4, 1, 1, 1)):
        found = golden_meta_depth.kept(f"odd.feat{level}", features[level][:, ::step])
        close(found, golden_meta_depth[f"odd.feat{level}"])


def test_loss_and_gradients_equal_the_official_ones(official, golden_meta_depth):
    """In float64: three passes enlarge float32's rounding, which differs between processors, beyond the tolerance."""
    facts, task = golden_meta_depth.facts["grad"], depth.build(view_fit="enlarged")
    model = official.double().train()
    latents = golden_meta_depth["step1.unet_in"].double()
    depth_m = model(latents, None, (128, 192))
    loss = task.loss(depth_m, DeviceBatch(latents, None, {"depth": golden_meta_depth["grad.depth_gt"]}))
    loss.backward()
    assert loss.item() == pytest.approx(facts["loss"], rel=1e-4)
    parameters = dict(model.named_parameters())
    for name, norm in facts["grad_norm"].items():
        ours = local_name(name)
        if ours is None:  # the output head has one name here
            ours = local_name(f"{UNET}out.{name.split('.', 2)[2]}")
        grad = parameters[ours].grad
        assert grad is not None, name
        if norm > 1e-6:  # below it: a bias before a batch norm, or the rounding of t through a group norm
            assert grad.norm().item() == pytest.approx(norm, rel=5e-3), name
    total = torch.cat([p.grad.double().flatten() for p in parameters.values() if p.grad is not None]).norm().item()
    assert total == pytest.approx(facts["total_grad_norm"], rel=1e-3)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("shared", "adapter"), [(False, True), (True, False), (True, True), (False, False)])
def test_gradients_reach_everything_of_the_first_pass(prompted, checkpointing, shared, adapter):
    model = prompted(shared=shared, adapter=adapter, checkpointing=checkpointing).train()
    assert len(model.prompts.tokens) == (1 if shared else 3)
    model(torch.randn(2, 4, 8, 8), None, (56, 48)).square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    before_a_norm = [f"head.{part}.conv_layers.0.bias" for part in ("layer2", "layer3", "layer4")]
    assert set(without) <= {*before_a_norm, "head.conv_layers.0.bias"}
    assert model.prompts.times[0].grad.abs().sum() > 0


@torch.no_grad()
def test_one_pass_is_the_backbone_at_a_learned_time(prompted):
    model = prompted(passes=1)
    latents = torch.randn(1, 4, 8, 8)
    ((context, time),) = model.prompts
    torch.testing.assert_close(model.features(latents, None)[0], model.backbone(latents, context, time))
    assert not hasattr(model.backbone.unet, "conv_out")
    assert not hasattr(model.backbone.unet, "time_embedding")


def test_the_depth_groups_put_prompts_and_times_at_the_full_rate(prompted):
    """Published: names with "unet" x0.01, tensors of one dimension without decay (docs/methods/depth.md#optimiser)."""
    groups = {
        g["name"]: g for g in named_groups(prompted(), OptimConfig(lr=5e-4, weight_decay=0.1, preset="meta_prompts"))
    }
    assert {"prompts.tokens.0", "prompts.times.2", "prompts.adapters.1.fc.0.weight"} <= set(groups["rest"]["names"])
    assert "backbone.unet.conv_out.weight" in groups["backbone"]["names"]
    assert (groups["rest"]["lr"], groups["backbone"]["lr"]) == (5e-4, pytest.approx(5e-6))


def test_settings_that_contradict_each_other_are_refused(make_unet, prompted):
    def build(passes, **options):
        backbone = make_unet(attention_maps="", **options)
        return Perception.conditioned(
            backbone, torch.nn.Identity(), PromptConfig(count=3 * bool(passes), passes=passes or 1)
        )

    with pytest.raises(ConfigError, match="3 passes needs timestep null"):
        build(3, timestep=1, output_head=True)
    with pytest.raises(ConfigError, match="output_head True"):
        build(2, timestep=None)
    with pytest.raises(ConfigError, match="output_head False"):
        build(1, timestep=None, output_head=True)
    with pytest.raises(ConfigError, match="a context of text needs timestep a number"):
        build(0, timestep=None)
    with pytest.raises(ConfigError, match=r"nothing reads its settings while count is 0"):
        PromptConfig(passes=3)
    with pytest.raises(ConfigError, match="needs a time embedding"):
        prompted().backbone(torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64))
    with pytest.raises(ConfigError, match=r"unknown setting 'model.head.hiden'. Did you mean 'hidden'"):
        build_head(depth.build(), make_unet(attention_maps="").spec(5), name="prompt_depth", hiden=3)
    with pytest.raises(ConfigError, match=r"no module vpd.heads.promt_depth .* Did you mean 'prompt_depth'"):
        build_head(depth.build(), make_unet(attention_maps="").spec(5), name="promt_depth")
