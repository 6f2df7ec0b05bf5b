"""Whole tiny models in folders, with random weights: what a prediction needs, and nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception.blueprints import assembled
from vpd.exchange.pretrained import Blueprint, save_pretrained, with_weights

VIEW_PX, TOKENS = 64, 12
TASKS: dict[str, dict[str, Any]] = {
    "refer": {"task": {"name": "refer"}, "tokens": TOKENS},
    "depth": {"task": {"name": "depth"}, "tokens": 1, "class_table": (3, 64), "class_names": ("attic", "bath", "den")},
    "seg": {"task": {"name": "seg", "classes": 5}, "tokens": 5, "class_table": (5, 64), "class_names": tuple("abcde")},
}


@pytest.fixture(scope="session")
def model_folder(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes the folder of a task's model, once."""
    made: dict[str, str] = {}

    def make(task: str) -> str:
        if task not in made:
            made[task] = str(tmp_path_factory.mktemp("models") / task)
            write_model(made[task], tiny_sd, **TASKS[task])
        return made[task]

    return make


def write_model(folder: str, tiny_sd: Path, **settings: Any) -> None:
    """A model folder on tiny Stable Diffusion; `settings` are the blueprint's."""
    encoders = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": TOKENS},
    }
    unet = json.loads((tiny_sd / "unet" / "config.json").read_text())
    backbone = {"name": "sd_unet"}
    blueprint = Blueprint(backbone=backbone, unet=unet, size_px=(VIEW_PX, VIEW_PX), encoders=encoders, **settings)
    model = assembled(blueprint)
    random = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            scale = 1 / max(value[0].numel(), 1) ** 0.5 if value.dim() > 1 else 0.1
            weights[name] = torch.randn(value.shape, generator=random) * scale + (value.dim() == 1 and "weight" in name)
        else:
            weights[name] = torch.zeros(value.shape, dtype=value.dtype)
    save_pretrained(
        folder, with_weights(model, {n: v.abs() if "running_var" in n else v for n, v in weights.items()}), blueprint
    )
