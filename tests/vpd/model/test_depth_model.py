"""The whole depth model against the official one: features, predictions at three sizes, loss and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from diffusion_perception.assembly.network import build_head
from vpd.backbones.sd_unet.keys import unet_key
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.depth import task as depth
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import named_groups

UNET, VAE = "encoder.unet.unet.diffusion_model.", "encoder.encoder_vq."
VAE_CONFIG = {
    "block_out_channels": (32, 64, 128, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def local_name(name):
    """Our name in `Perception` of an official weight outside the VAE."""
    if name.startswith(UNET):
        return f"backbone.unet.{unet_key(name.removeprefix(UNET))}"
    name = name.removeprefix("encoder.").removeprefix("decoder.").replace("text_adapter.", "")
    if name == "class_embeddings":
        return name
    return f"adapter.{name}" if name.startswith(("fc.", "gamma")) else f"head.{name}"


@pytest.fixture
def official(make_unet, depth_weights):
    """Our model with every weight of an official depth checkpoint, loaded strictly."""

    def make(tokens=1, **options):
        task = depth.build()
        backbone = make_unet(attention_maps="", **options)
        table = torch.zeros_like(depth_weights["encoder.class_embeddings"])
        head = build_head(task, backbone.spec(1), rows=len(table))
        model = Perception(backbone, TextAdapter(64), head, class_embeddings=table, tokens=tokens)
        model.load_state_dict({local_name(k): v for k, v in depth_weights.items() if not k.startswith(VAE)})
        return model.eval()

    return make


@pytest.fixture(scope="module")
def encode(depth_weights):
    """Official pixels in [0, 1] to latents: mid-grey padding, posterior mean."""
    weights = {k.removeprefix(VAE): v for k, v in depth_weights.items() if k.startswith(VAE)}
    vae = AutoencoderKL(**VAE_CONFIG).eval()
    vae.load_state_dict(convert_ldm_vae_checkpoint(weights, vae.config), strict=False)
    vae.decoder = None

    def run(pixels):
        height, width = (-(-side // 64) * 64 for side in pixels.shape[-2:])
        padded = F.pad(pixels * 2 - 1, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))
        with torch.no_grad():
            return vae.encode(padded).latent_dist.mode()

    return run


@torch.no_grad()
def test_features_fusion_and_prediction_equal_the_official_ones(official, golden_depth):
    model, latents = official(), golden_depth["s352.latents"]
    context = model.text_states(golden_depth["s352.class_ids"])
    torch.testing.assert_close(context, golden_depth["s352.context"], rtol=0, atol=1e-6)
    features = model.backbone(latents, context)
    for i, step in enumerate((4, 1, 1, 1)):  # the recording holds sample 0, and every fourth channel of the finest
        found = golden_depth.kept(f"s352.feat{i}", features[i][:1, ::step])
        torch.testing.assert_close(found, golden_depth[f"s352.feat{i}"], rtol=0, atol=4e-4)
    fused = model.head.fuse(features)
    fused = golden_depth.kept("s352.encoder_out_ch_every4", fused[:1, ::4])
    torch.testing.assert_close(fused, golden_depth["s352.encoder_out_ch_every4"], rtol=0, atol=1e-4)
    found = model(latents, golden_depth["s352.class_ids"], (352, 352))
    torch.testing.assert_close(golden_depth.kept("s352.pred_d", found), golden_depth["s352.pred_d"], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("side", [480, 512])
def test_predictions_from_pixels_equal_the_official_ones(side, official, encode, golden_depth):
    latents = encode(golden_depth["image_u8"][..., :side, :side].float() / 255)
    assert latents.shape == (1, 4, 64, 64)
    found = official()(latents, golden_depth[f"s{side}.class_ids"], (side, side))
    name = f"s{side}.pred_d_every4"
    found = golden_depth.kept(name, found[..., 1::4, 2::4])
    torch.testing.assert_close(found, golden_depth[name], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("mistake", ["not cut", "another class"])
def test_a_single_mistake_is_far_outside_the_tolerance(mistake, official, golden_depth):
    latents, classes = golden_depth["s352.latents"][:1], golden_depth["s352.class_ids"][:1]
    size = (384, 384) if mistake == "not cut" else (352, 352)
    found = official()(latents, classes + (mistake == "another class"), size)[..., :352, :352]
    assert (golden_depth.kept("s352.pred_d", found) - golden_depth["s352.pred_d"][:1]).abs().max() > 100 * 1e-4


def test_training_gradients_equal_the_official_ones(official, golden_depth):
    model, task = official().train(), depth.build()
    labels = {"depth": golden_depth["grad.depth_gt"], "class_id": golden_depth["s352.class_ids"][:1]}
    batch = DeviceBatch(golden_depth["s352.latents"][:1], None, labels)
    pred = model(batch.latents, task.context(batch), task.out_size_px(batch))
    loss = task.loss(pred, batch)
    loss.backward()

    facts = golden_depth.facts["grad"]
    torch.testing.assert_close(golden_depth.kept("grad.pred_d", pred), golden_depth["grad.pred_d"], rtol=0, atol=1e-3)
    assert loss.item() == pytest.approx(facts["loss"], rel=1e-5)
    parameters = dict(model.named_parameters())
    for name, norm in facts["grad_norm"].items():
        grad = parameters[local_name(name)].grad
        if norm == 0:
            assert grad is None  # the collapse leaves them out, the official ones are exactly zero
        elif name != "decoder.conv_layers.0.bias":  # before a batch norm: zero but for rounding
            assert grad.norm().item() == pytest.approx(norm, rel=2e-3), name
    total = torch.cat([p.grad.double().flatten() for p in parameters.values() if p.grad is not None]).norm().item()
    assert total == pytest.approx(facts["total_grad_norm"], rel=1e-5)
    recorded = [name for name in golden_depth.tensors if name.startswith(("grad.encoder.", "grad.last_layer_depth."))]
    assert len(recorded) == 4
    for name in recorded:
        reference = golden_depth[name]
        grad = parameters[local_name(name.removeprefix("grad."))].grad
        torch.testing.assert_close(grad, reference, rtol=0, atol=2e-3 * reference.abs().max().item())


def test_every_trainable_parameter_gets_a_gradient_in_bfloat16(official):
    model = official().train()
    with torch.autocast("cpu", torch.bfloat16):
        # As small as the network takes it: without its own kernels, a CPU needs minutes for the head's last layer.
        depth_m = model(torch.randn(2, 4, 2, 4), torch.tensor([0, -1]), (15, 30))
    assert depth_m.shape == (2, 1, 15, 30)
    assert depth_m.dtype == torch.float32
    depth_m.log().square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_groups_hold_what_the_official_groups_hold(official, golden_depth, depth_weights):
    """All names, sizes, rates and decay; the collapsed attention's tensors are the only ones that may be missing."""
    recorded = {group["group_name"]: group for group in golden_depth.facts["optimizer_groups"]}
    pairs = {
        "backbone_no_decay": "layer_0_no_decay",
        "backbone": "layer_0_decay",
        "no_decay": "layer_1_no_decay",
        "rest": "layer_1_decay",
    }
    settings = OptimConfig(lr=5e-4, weight_decay=0.1, preset="depth")
    for model, frozen in ((official(tokens=None), False), (official(), True)):
        groups = {g["name"]: g for g in named_groups(model, settings)}
        assert groups.keys() == pairs.keys()
        for ours, theirs in pairs.items():
            group, expected = groups[ours], recorded[theirs]
            ours_is_small, in_backbone = ours.endswith("no_decay"), ours.startswith("backbone")
            left_out = [p for p in model.parameters() if not p.requires_grad and (p.ndim == 1) == ours_is_small]
            left_out = left_out if in_backbone else []
            assert bool(left_out) == (frozen and in_backbone)
            assert len(group["params"]) + len(left_out) == expected["n"]
            assert sum(p.numel() for p in [*group["params"], *left_out]) == expected["numel"]
            assert group["lr"] == pytest.approx(expected["lr"])
            assert group["weight_decay"] == expected["weight_decay"]
            named = {local_name(name) for name in expected["param_names"] if name != "..."}
            assert named <= set(group["names"])


def test_mmsegs_groups_decay_all_but_biases(official):
    model = official()
    groups = {g["name"]: g for g in named_groups(model, OptimConfig(lr=1e-3, weight_decay=0.1, preset="depth_mmseg"))}
    assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
        "backbone_bias": (1e-5, 0.0),
        "backbone": (1e-5, 0.1),
        "bias": (1e-3, 0.0),
        "rest": (1e-3, 0.1),
    }
    assert "adapter.gamma" in groups["rest"]["names"]
    assert "head.layer1.1.weight" in groups["rest"]["names"]
    assert all(name.endswith(".bias") for g in ("backbone_bias", "bias") for name in groups[g]["names"])
    assert not any(name.endswith(".bias") for g in ("backbone", "rest") for name in groups[g]["names"])
