"""Latents of the scenes that the denoiser is trained on, encoded once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from demo.pretrain.autoencoder import SCALING, means, pictures
from demo.pretrain.pool import scene_of
from demo.world import Scene


@dataclass(frozen=True)
class LatentPool:
    scenes: list[Scene]
    latents: Tensor  # float32 [N, 4, h, w], scaled: a standard deviation of about 1


def encoded(vae: AutoencoderKL, seed: int, first: int, count: int) -> LatentPool:
    """Scenes `first` to `first + count` of a seed, each whole."""
    scenes = [scene_of(seed, number) for number in range(first, first + count)]
    parts = (pictures(seed, start, min(64, first + count - start)) for start in range(first, first + count, 64))
    return LatentPool(scenes, torch.cat([means(vae, pixels) for pixels in parts]) * SCALING)
