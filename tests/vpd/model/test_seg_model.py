"""The whole segmentation model against the official one: features, neck, logits, windows, losses, gradients, groups."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from diffusion_perception.assembly.network import build_head
from diffusion_perception.assembly.parts import build_schedule
from pipeline.views import segmentation_tiles
from vpd.backbones.sd_unet.keys import unet_key
from vpd.heads.ops.resize import resize
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.seg import task as seg
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import named_groups

UNET, VAE = "unet.unet.diffusion_model.", "encoder_vq."
CLASSES = 13
VAE_CONFIG = {
    "block_out_channels": (32, 64, 128, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def local_name(name):
    """Our name in `Perception` of an official weight; None for the VAE, the schedule and the UNet's output head."""
    if name.startswith((VAE, "sd_model.", UNET + "out.")):
        return None
    if name.startswith(UNET):
        return f"backbone.unet.{unet_key(name.removeprefix(UNET))}"
    if name.startswith(("neck.", "decode_head.")):
        return f"head.{name}"
    return name if name == "class_embeddings" else f"adapter.{name.removeprefix('text_adapter.')}"


@pytest.fixture
def official(make_unet, seg_weights):
    """Our model with every weight of an official checkpoint, loaded strictly."""
    task = seg.build(classes=CLASSES, dropout=0.0)
    backbone = make_unet()
    table = torch.zeros_like(seg_weights["class_embeddings"])
    head = build_head(task, backbone.spec(task.tokens(None)), rows=len(table), channels=32)
    model = Perception(backbone, TextAdapter(64), head, class_embeddings=table)
    model.load_state_dict({ours: v for k, v in seg_weights.items() if (ours := local_name(k))})
    return model.eval()


@pytest.fixture(scope="module")
def encode(seg_weights):
    """Pixels uint8 to latents: (u8 - 127.5) / 127.5, posterior mean."""
    weights = {k.removeprefix(VAE): v for k, v in seg_weights.items() if k.startswith(VAE)}
    vae = AutoencoderKL(**VAE_CONFIG).eval()
    vae.load_state_dict(convert_ldm_vae_checkpoint(weights, vae.config), strict=False)
    vae.decoder = None

    def run(image_u8):
        with torch.no_grad():
            return vae.encode((image_u8.float() - 127.5) / 127.5).latent_dist.mode()

    return run


def logits_of(model, task, latents):
    batch = DeviceBatch(latents, None)
    return model(latents, task.context(batch), task.out_size_px(batch))


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@torch.no_grad()
def test_features_neck_and_logits_equal_the_official_ones(official, encode, golden_seg):
    latents = golden_seg["latents"]
    close(encode(golden_seg["image_u8"]), latents, 1e-4)
    context = official.text_states(None)
    close(context, golden_seg["context"], 1e-6)
    features = official.backbone(latents, context)
    assert [f.shape[1] for f in features] == [32, 64 + CLASSES, 128 + CLASSES, 128]
    for i, (feature, level) in enumerate(zip(features, official.head.neck(features), strict=True)):
        close(feature[:1], golden_seg[f"feat{i}"], 4e-3)
        close(level[:1], golden_seg[f"neck{i}"], 4e-3)
    logits = logits_of(official, seg.build(classes=CLASSES), latents)
    close(logits, golden_seg["head_logits"], 3e-3)
    close(resize(logits, (128, 128))[..., 1::4, 2::4], golden_seg["logits_every4"], 3e-3)


@torch.no_grad()
def test_sliding_windows_equal_the_official_ones(official, encode, golden_seg):
    task, image = seg.build(classes=CLASSES), golden_seg["slide.image_u8"]
    plan = segmentation_tiles.build(crop=128, stride=85, base=(224, 176))
    probability = slide(official, encode, task, image, plan.views("", 224, 176))
    name = "slide.prob_every4"
    close(golden_seg.kept(name, probability[None, :, 1::4, 2::4]), golden_seg[name], 4e-4)
    assert (probability.argmax(0) != golden_seg["slide.pred"]).sum() <= 10  # of 39,424; ties
    raw = slide(official, encode, seg.build(classes=CLASSES, merge="logit"), image, plan.views("", 224, 176))
    assert raw.max() > 1  # logits
    assert torch.equal(raw.argmax(0), probability.argmax(0))


@torch.no_grad()
def test_flipped_and_rescaled_windows_equal_the_official_ones(official, encode, golden_seg):
    """Official: the picture is flipped, its averaged logits resized to 280 x 220, softmax, then flipped back."""
    plan = segmentation_tiles.build(crop=128, stride=85, base=(224, 176), flip=True)
    views = [view for view in plan.views("", 280, 220) if view.flip]
    found = slide(official, encode, seg.build(classes=CLASSES), golden_seg["slide.image_u8"], views)
    assert found.shape == (CLASSES, 280, 220)
    name = "slide_flip_rescale.prob_every4"
    close(golden_seg.kept(name, found[None, :, 1::4, 2::4]), golden_seg[name], 4e-4)


def slide(model, encode, task, image_u8, views):
    """Windows of a picture that already has the resized size, through the model, put together."""
    assert {view.resized_px for view in views} == {tuple(image_u8.shape[-2:])}
    windows = []
    for view in views:
        x0, y0, x1, y1 = view.window_px
        window = image_u8[..., y0:y1, x0:x1]
        windows.append(window.flip(-1) if view.flip else window)
    return task.assembled(logits_of(model, task, encode(torch.cat(windows))), views)


@torch.no_grad()
def test_loss_equals_the_official_one_in_both_ways_of_averaging(official, golden_seg):
    labels = {"label": golden_seg["gt"][:, 0]}
    logits = logits_of(official, seg.build(classes=CLASSES), golden_seg["latents"])
    batch = DeviceBatch(golden_seg["latents"], None, labels)
    published = seg.build(classes=CLASSES).loss(logits, batch)
    assert published.item() == pytest.approx(golden_seg.facts["loss_eval_mode"]["decode.loss_ce"], rel=1e-5)
    valid = seg.build(classes=CLASSES, average="valid").loss(logits, batch)
    assert valid.item() == pytest.approx(9.4988, abs=1e-3)  # docs/methods/parity.md#values-that-pin-a-convention


def test_training_gradients_equal_the_official_ones(official, golden_seg):
    model, task = official.train(), seg.build(classes=CLASSES)
    batch = DeviceBatch(golden_seg["latents"], None, {"label": golden_seg["gt"][:, 0]})
    loss = task.loss(model(batch.latents, task.context(batch), task.out_size_px(batch)), batch)
    loss.backward()
    facts = golden_seg.facts["grad"]
    assert loss.item() == pytest.approx(facts["loss_train_mode"], rel=1e-5)
    parameters = dict(model.named_parameters())
    for name, norm in facts["grad_norm"].items():
        found = parameters[local_name(name)].grad.norm().item()
        assert found == pytest.approx(norm, rel=2e-3), name
    assert {n for n, p in parameters.items() if p.grad is None} == set()
    assert all(local_name(name) is None for name in facts["params_without_grad"])


def test_groups_hold_what_the_official_groups_hold(official, golden_seg, seg_weights):
    """Rates and decay of every parameter as the real mmcv builder resolved them, the norm quirk included."""
    groups = {g["name"]: g for g in named_groups(official, OptimConfig(preset="seg", lr=8e-5, weight_decay=1e-3))}
    unet, norms, rest = golden_seg.facts["optimizer"]["resolved"]
    assert {name: len(g["names"]) for name, g in groups.items()} == {
        "backbone_norm": norms["n"],
        "backbone": unet["n"] - 4,  # the UNet's unused output head
        "rest": sum(local_name(k) is not None and not k.startswith(UNET) for k in seg_weights) - buffers(seg_weights),
    }
    assert groups["rest"]["lr"] == 8e-5 * rest["lr_mult"]
    for name, theirs in (("backbone_norm", norms), ("backbone", unet), ("rest", rest)):
        assert groups[name]["lr"] == pytest.approx(8e-5 * theirs["lr_mult"])
        assert groups[name]["weight_decay"] == 1e-3 * theirs["decay_mult"]
        for example in theirs["examples"]:
            if ours := local_name(example):
                assert ours in groups[name]["names"]


def buffers(weights):
    """Official tensors outside the UNet that are not parameters: the class table and the batch norms' statistics."""
    kept = [name for name in weights if local_name(name) and not name.startswith(UNET)]
    return sum(name == "class_embeddings" or ".running_" in name or "num_batches" in name for name in kept)


def test_the_paper_preset_gives_the_whole_unet_a_tenth(official):
    groups = {g["name"]: g for g in named_groups(official, OptimConfig(preset="seg_paper", lr=1.0, weight_decay=0.5))}
    assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
        "backbone_norm": (0.1, 0.0),
        "backbone": (0.1, 0.5),
        "rest": (1.0, 0.5),
    }


def test_the_schedule_is_mmcvs_poly_with_its_linear_warm_up(golden_seg):
    """Restated step by step: regular = base * (1 - i / max), times 1 - (1 - i / warm-up) (1 - ratio) at first."""
    facts = golden_seg.facts["lr_config"]
    warm, ratio = facts["warmup_iters"], facts["warmup_ratio"]
    settings = {"name": facts["policy"], "power": facts["power"], "warmup_steps": warm, "warmup_ratio": ratio}
    curve = build_schedule(settings, total=80_000, steps_per_epoch=1263)
    for step in (0, 1, 700, 1499, 1500, 1501, 40_000, 79_999, 80_000):
        regular = 8e-5 * (1 - step / 80_000) ** facts["power"]
        expected = regular * (1 - (1 - step / warm) * (1 - ratio)) if step < warm else regular
        assert 8e-5 * curve(step) == pytest.approx(expected, rel=1e-12)
    assert 8e-5 * curve(0) == pytest.approx(8e-11)
    assert max(8e-5 * curve(step) for step in range(0, 3000, 10)) == pytest.approx(8e-5 * (1 - 1500 / 80_000))
