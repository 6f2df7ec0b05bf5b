"""Stable Diffusion 1 and 2, SD-Turbo, BK-SDM, CleanDIFT: a UNet, one CLIP text encoder, noise of DDPM.

Text is the last hidden state of 77 tokens, as the pipeline takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.features.families import Family, eval_of, first_of
from vpd.features.noising import diffused


class StableDiffusion(Family):
    """A UNet whose blocks have cross-attention (`attn2`) beside self-attention (`attn1`)."""

    cross_attention = ".attn2"
    self_attention = ".attn1"

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = eval_of(pipeline.unet)

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Text states `[P, 77, D]`."""
        states, _ = self.pipeline.encode_prompt(list(prompts), self.pipeline.device, 1, False)
        return {"encoder_hidden_states": states}

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        return self.network(latents, timestep, **conditions, return_dict=False)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: float) -> torch.Tensor:
        return diffused(latents, noise, self.pipeline.scheduler, timestep)

    def as_map(self, layer: nn.Module, output: Any, latents: torch.Tensor) -> torch.Tensor:
        """Blocks and resnets give maps; a transformer's blocks tokens, of a level that halves the latents' so often."""
        values = first_of(output)
        if values.ndim == 4:
            return values
        if values.ndim == 3:
            rows, columns = latents.shape[-2:]
            while rows * columns > values.shape[1]:
                rows, columns = -(-rows // 2), -(-columns // 2)
            if rows * columns == values.shape[1]:
                return values.unflatten(1, (rows, columns)).movedim(-1, 1)
        raise ConfigError(f"a layer that gives {list(values.shape)} is no feature map: choose another.")


def build(pipeline: Any) -> Family:
    """The family of a `StableDiffusionPipeline`."""
    return StableDiffusion(pipeline)
