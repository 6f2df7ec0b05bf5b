"""Meta Prompts' segmentation model against the official one: image to features and logits, and a training step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from diffusion_perception.assembly.network import build_head
from vpd.backbones.sd_unet.keys import unet_key
from vpd.heads.ops.resize import resize
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig
from vpd.tasks.seg import task as seg
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import build_optimizer, named_groups

UNET, VAE = "model.diffusion_model.", "first_stage_model."
PROMPTS, PASSES, CLASSES = 11, 2, 11
VAE_CONFIG = {
    "block_out_channels": (32, 64, 128, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def prompted(make_unet: Any, task: Any, **head: Any) -> Perception:
    """A small model: shared prompts without an adapter, UPerNet."""
    backbone = make_unet(attention_maps="", timestep=None, output_head=True, resize_skips=True)
    prompts = PromptConfig(PROMPTS, PASSES, shared=True, adapter=False)
    built = build_head(task, backbone.spec(PROMPTS), name="upernet", **{"channels": 16, **head})
    return Perception.conditioned(backbone, built, prompts)


def local_name(name: str) -> str:
    """Our name of an official tensor outside UNet and VAE."""
    if name == "meta_prompts":
        return "prompts.tokens.0"
    return f"prompts.times.{int(name[1:]) - 1}" if name in ("t1", "t2") else f"head.{name}"


@pytest.fixture
def official(
    make_unet: Any, sd_weights: dict[str, torch.Tensor], meta_seg_weights: dict[str, torch.Tensor]
) -> Perception:
    """Our model with every recorded weight, loaded strictly, in float64: random weights that are passed through twice
    enlarge float32's rounding to 1e-4 of the features."""
    task = seg.build(classes=CLASSES, dropout=0.0)
    model = prompted(make_unet, task, auxiliary_channels=0)
    ours = {local_name(name): tensor for name, tensor in meta_seg_weights.items()}
    unet = {unet_key(k.removeprefix(UNET)): v for k, v in sd_weights.items() if k.startswith(UNET)}
    ours |= {f"backbone.unet.{k}": v for k, v in unet.items() if not k.startswith("time_embedding.")}
    model.load_state_dict(ours)
    return model.double().eval()


@pytest.fixture
def latents(golden_meta_seg: Any, sd_weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Posterior mean of the recorded picture, float64 [1, 4, 16, 16]."""
    vae: Any = AutoencoderKL(**VAE_CONFIG).double().eval()
    vae.load_state_dict(convert_ldm_vae_checkpoint(sd_weights, vae.config))
    pixels = (golden_meta_seg["image_u8"].float() - 127.5) / 127.5
    with torch.no_grad():
        return vae.encode(pixels.double()).latent_dist.mode()


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference as a share of the largest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def test_features_and_logits_equal_the_official_ones(
    official: Any, latents: torch.Tensor, golden_meta_seg: Any
) -> None:
    features, context = official.features(latents, None)
    assert context.shape == (1, PROMPTS, 64)
    compared = official.head.compared(features, context)
    for index, found in enumerate(compared):
        assert relative(found, golden_meta_seg[f"feat{index}"]) < 1e-5
    logits = official(latents, None, None)
    assert logits.shape == (1, CLASSES, 32, 32)  # 1/4 of the picture
    found = resize(logits, (128, 128))[:, :, 1::4, 2::4]
    assert relative(found, golden_meta_seg["logits_every4"]) < 1e-5
    float32 = official.float()(latents.float(), None, None)
    assert relative(resize(float32, (128, 128))[:, :, 1::4, 2::4], golden_meta_seg["logits_every4"]) < 1e-4


def test_a_step_trains_prompts_times_and_both_outputs(make_unet: Any) -> None:
    task = seg.build(classes=3, dropout=0.1, lovasz=1.0, auxiliary=0.4)
    model = prompted(make_unet, task, auxiliary_channels=8).train()
    torch.manual_seed(0)
    label = torch.randint(0, 3, (2, 64, 64), dtype=torch.uint8)
    label[:, :9] = 255
    batch = DeviceBatch(torch.randn(2, 4, 8, 8), None, {"label": label})
    logits = model(batch.latents, task.context(batch), task.out_size_px(batch))
    assert [tuple(part.shape) for part in logits] == [(2, 3, 16, 16), (2, 3, 4, 4)]
    loss = task.loss(logits, batch)
    labelled = (label != 255).float().mean().item()
    assert loss.item() == pytest.approx(1.4 * torch.tensor(3.0).log().item() * labelled + 0.8, abs=0.15)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
    settings = OptimConfig(preset="seg", lr=1e-2, weight_decay=0.0)
    build_optimizer(named_groups(model, settings), settings).step()
    assert torch.isfinite(model.eval()(batch.latents, None, None)).all()
