"""What the demo's trainings start from: the tiny model that was pre-trained, and the same with a random U-Net.

Owns the model folders in demo_out. Without pre-trained weights (`demo/pretrained`, a copy of the tiny-sd that
`python -m demo.pretrain` leaves; none come with the repository) there is the random start alone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from demo.tiny_sd import write_tiny_sd

PRETRAINED = Path(__file__).parent / "pretrained"


SCALED = "model.latent_scale=0.18215"  # as the pre-training scaled its latents


@dataclass(frozen=True)
class Start:
    """A model folder in demo_out, what its runs' names end in, and what a training from it sets.

    A later start is trained from beside the first, whose settings every other run of a chapter takes too.
    """

    weights: str
    folder: str
    suffix: str = ""
    settings: str = ""


def write_starts(out: Path, pretrained: Path = PRETRAINED) -> tuple[Start, ...]:
    """Write the models; returns the starts, first the one whose runs are evaluated and drawn.

    Their encoders and shapes are the same, so they train on the same shards. The caller's random state stays.
    """
    if not pretrained.exists():
        write_tiny_sd(out / "tiny-sd")
        return (Start("random weights", "tiny-sd"),)
    shutil.copytree(pretrained, out / "tiny-sd")
    others = shutil.ignore_patterns("unet", "README.md", "samples.jpg")
    shutil.copytree(pretrained, out / "tiny-sd-random", ignore=others)
    config: Any = UNet2DConditionModel.load_config(pretrained / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config(config)
    assert isinstance(unet, UNet2DConditionModel)
    unet.half().save_pretrained(out / "tiny-sd-random/unet")
    other = f"{SCALED} backbone.model=demo_out/tiny-sd-random loop.eval_at_start=false"
    return (
        Start("pre-trained weights", "tiny-sd", settings=SCALED),
        Start("random weights", "tiny-sd-random", "-random", other),
    )
