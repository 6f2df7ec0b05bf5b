"""Noise in latents, by the two rules there are, and drawn so that a picture's features do not depend on its neighbours.

Owns the arithmetic and the draws. Which rule a family follows is said by its model's scheduler.
"""

from __future__ import annotations

from typing import Any

import torch

from shards.errors import ConfigError


def diffused(latents: torch.Tensor, noise: torch.Tensor, scheduler: Any, timestep: float) -> torch.Tensor:
    """Latents `[N, C, h, w]` with the noise that they have at a timestep: sqrt(a) z + sqrt(1 - a) noise, of DDPM.

    Raises:
        ConfigError: a timestep that the model was not trained on.
    """
    alphas = scheduler.alphas_cumprod  # [T]
    if not (0 <= timestep < len(alphas) and timestep == int(timestep)):
        raise ConfigError(f"timestep is {timestep}; this model was trained on whole ones from 0 to {len(alphas) - 1}.")
    kept = alphas[int(timestep)].to(latents)
    return kept.sqrt() * latents + (1 - kept).sqrt() * noise


def flowed(latents: torch.Tensor, noise: torch.Tensor, scheduler: Any, timestep: float) -> torch.Tensor:
    """Latents on the straight way to noise, s noise + (1 - s) z with s = timestep / 1000, of rectified flow.

    Raises:
        ConfigError: a timestep outside of it.
    """
    steps = scheduler.config["num_train_timesteps"]
    if not 0 <= timestep <= steps:
        raise ConfigError(f"timestep is {timestep}; this model was trained on 0 to {steps}.")
    share = timestep / steps
    return share * noise + (1 - share) * latents


def draws(seed: int, kind: str, members: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Normal numbers `[members, *shape]`, float32, made on the CPU from the seed: member k of every picture of a size
    gets the same ones, so that its features do not change with what stands beside it or with the batch size."""
    made = []
    for member in range(members):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + 2 * member + (kind == "noise"))
        made.append(torch.randn(shape, generator=generator))
    return torch.stack(made)  # [E, C, h, w]
