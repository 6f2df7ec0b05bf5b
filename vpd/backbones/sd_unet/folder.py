"""Stable Diffusion parts as diffusers folders: what a config expects, and writing weights so that diffusers loads them.

Owns the form of `unet/` and `vae/`. Models are described on the meta device, so nothing is initialised or copied.
Reading such folders is `vpd.backbones.sd_unet.load`'s and the build side's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file

WEIGHTS = "diffusion_pytorch_model.safetensors"
CLASSES: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}

Shapes = Mapping[str, torch.Size]


def expected_shapes(part: str, config: Mapping[str, Any]) -> Shapes:
    """Name and shape of every weight of a part, `unet` or `vae`, with this config."""
    return {name: tensor.shape for name, tensor in _described(part, config).state_dict().items()}


def write_part(folder: Path, part: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Path:
    """Write `<folder>/<part>` as diffusers does: config.json and one safetensors file. Returns that folder."""
    target = folder / part
    target.mkdir(parents=True, exist_ok=True)
    _described(part, config).save_config(target)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, target / WEIGHTS, {"format": "pt"})
    return target


def _described(part: str, config: Mapping[str, Any]) -> Any:
    with torch.device("meta"):
        return CLASSES[part](**{key: value for key, value in config.items() if not key.startswith("_")})
