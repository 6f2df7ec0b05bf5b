"""A whole tiny model in a folder, with random weights: what a prediction needs, and nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from diffusion_perception.blueprints import assembled
from vpd.exchange.pretrained import Blueprint, save_pretrained, with_weights

VIEW_PX, TOKENS = 64, 12


def write_tiny_model(folder: Path, tiny_sd: Path, **settings: Any) -> None:
    """A model folder on a tiny Stable Diffusion.

    Args:
        folder: to write.
        tiny_sd: as `demo.tiny_sd` writes it.
        settings: of the blueprint: `task`, `tokens`, `class_table`, `class_names`.
    """
    encoders = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": TOKENS},
    }
    unet = json.loads((tiny_sd / "unet" / "config.json").read_text())
    sizes = {"size_px": (VIEW_PX, VIEW_PX), **settings}
    blueprint = Blueprint(backbone={"name": "sd_unet"}, unet=unet, encoders=encoders, **sizes)
    model, random = assembled(blueprint), torch.Generator().manual_seed(0)
    weights = {name: _weight(name, value, random) for name, value in model.state_dict().items()}
    save_pretrained(folder, with_weights(model, weights), blueprint)


def _weight(name: str, value: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Matrices that keep the scale of what they are given, norms about 1, and buffers that count."""
    if not value.is_floating_point():
        return torch.zeros(value.shape, dtype=value.dtype)
    drawn = torch.randn(value.shape, generator=random)
    if value.dim() > 1:
        return drawn / max(value[0].numel(), 1) ** 0.5
    if "running_var" in name:
        return 1 + 0.1 * drawn.abs()
    return 0.1 * drawn + ("weight" in name)
