"""What the demo's trainings start from: the tiny model that was pre-trained, and the same with a random U-Net.

Owns the model folders in demo_out. The pre-trained model is `demo/pretrained`, as `python -m demo.pretrain` left it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

PRETRAINED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class Start:
    """A model folder in demo_out, what its runs' names end in, and what a training from it sets.

    A later start is trained from beside the first, which a chapter's other runs start from, too.
    """

    weights: str
    folder: str
    suffix: str = ""
    settings: str = ""


def write_starts(out: Path, pretrained: Path = PRETRAINED) -> tuple[Start, ...]:
    """Write the models; returns the starts, first the one whose runs are evaluated and drawn.

    Their encoders and shapes are the same, so they train on the same shards. The caller's random state stays.
    """
    shutil.copytree(pretrained, out / "tiny-sd")
    others = shutil.ignore_patterns("unet", "README.md", "samples.jpg")
    shutil.copytree(pretrained, out / "tiny-sd-random", ignore=others)
    config: Any = UNet2DConditionModel.load_config(pretrained / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config(config)
    assert isinstance(unet, UNet2DConditionModel)
    unet.half().save_pretrained(out / "tiny-sd-random/unet")
    other = "backbone.model=demo_out/tiny-sd-random loop.eval_at_start=false"
    return Start("pre-trained weights", "tiny-sd"), Start("random weights", "tiny-sd-random", "-random", other)
