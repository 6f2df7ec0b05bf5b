"""The networks that the benchmarks run: Stable Diffusion 1.5's size or narrower, random weights, batches made up.

Owns which network stands for a task, and its inputs. What is counted is `benchmarks.counting`'s, what is timed is
left to the scripts. Latents are those of square pictures; refer attends to 40 tokens, depth to one, seg to the 150
classes, and `prompts` is Meta Prompts' depth with 50 learned prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from diffusion_perception.assembly.network import build_head
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.regimes import apply_regime
from vpd.model.settings import ModelConfig, PromptConfig
from vpd.tasks import Task, depth, refer, seg

SD15 = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TOKENS, CLASSES, SCENES, PROMPTS = 40, 150, 27, 50
SHOWN = 480 / 512  # of a padded view of depth


@dataclass(frozen=True)
class Kind:
    """What stands for a task: how it is made, what it attends to, what a batch is labelled with."""

    task: Callable[[], Task]
    tokens: int
    maps: str = ""  # of the backbone
    rows: int = 0  # of the class table
    prompts: int = 0
    head: tuple[tuple[str, Any], ...] = ()


KINDS = {
    "refer": Kind(refer.build, TOKENS, maps="up+down"),
    "depth": Kind(depth.build, 1, rows=SCENES),
    "seg": Kind(lambda: seg.build(classes=CLASSES), CLASSES, maps="up+down", rows=CLASSES),
    "prompts": Kind(
        lambda: depth.build(view_fit="enlarged"), PROMPTS, prompts=PROMPTS, head=(("name", "prompt_depth"),)
    ),
}


def unet_config(width: int) -> dict[str, Any]:
    """The UNet of SD 1.5 with its 320 base channels replaced by `width`, and its context as much narrower."""
    return SD15 | {
        "block_out_channels": tuple(channels * width // 320 for channels in (320, 640, 1280, 1280)),
        "cross_attention_dim": -(-768 * width // 320 // 16) * 16,  # a multiple of the groups of a head's norms
    }


def build(
    name: str = "refer",
    width: int = 320,
    device: str = "cpu",
    regime: ModelConfig | None = None,
    passes: int = 1,
    **options: Any,
) -> tuple[Perception, Task]:
    """A network with random weights.

    Args:
        name: one of KINDS.
        width: base channels of the UNet; 320 is SD 1.5.
        device: that torch makes the tensors on.
        regime: what learns; default everything.
        passes: of the UNet, with learned prompts.
        options: of `SdUnet`.
    """
    kind = KINDS[name]
    timestep = None if kind.prompts else 1
    options = {"attention_maps": kind.maps, "timestep": timestep, "output_head": passes > 1} | options
    with torch.device(device):
        task = kind.task()
        backbone = SdUnet.from_config(unet_config(width), **options)
        head = build_head(task, backbone.spec(kind.tokens), kind.rows or None, **dict(kind.head))
        table = torch.randn(kind.rows, backbone.context_width) if kind.rows else None
        model = Perception.conditioned(
            backbone,
            head,
            PromptConfig(count=kind.prompts, passes=passes),
            class_embeddings=table,
            tokens=None if kind.prompts else kind.tokens,
        )
        return apply_regime(model, regime or ModelConfig()), task


def made_up(name: str, model: Perception, samples: int, latent_side: int = 64, device: str = "cpu") -> DeviceBatch:
    """Random latents, text states where the task reads some, and labels."""
    side = latent_side * 8
    with torch.device(device):
        latents = torch.randn(samples, 4, latent_side, latent_side)
        if name == "refer":
            text = torch.randn(samples, TOKENS, model.backbone.context_width)
            return DeviceBatch(latents, text, {"mask": torch.zeros(samples, side, side, dtype=torch.uint8)})
        if name == "seg":
            return DeviceBatch(latents, None, {"label": torch.zeros(samples, side, side, dtype=torch.uint8)})
        shown = int(side * SHOWN)
        depth_m, scenes = torch.rand(samples, shown, shown) + 0.5, torch.zeros(samples, dtype=torch.int64)
        return DeviceBatch(latents, None, {"depth": depth_m, "class_id": scenes})


def loss_of(model: Any, task: Task, batch: DeviceBatch) -> torch.Tensor:
    """Forward pass and loss, as the training loop does them."""
    known = () if batch.features is None else (batch.features,)
    return task.loss(model(batch.latents, task.context(batch), task.out_size_px(batch), *known), batch)


def knowing_features(model: Perception, task: Task, batch: DeviceBatch) -> DeviceBatch:
    """The same batch, whose features were computed before (`loop.keep_features_gb`)."""
    with torch.no_grad():
        return replace(batch, features=model.features(batch.latents, task.context(batch))[0])
