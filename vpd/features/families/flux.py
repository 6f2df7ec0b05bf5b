"""FLUX.1: a transformer over packed patches of 2 x 2 latents, T5's words and CLIP's pooled text, rectified flow.

Its double blocks (`transformer_blocks.N`) and single ones (`single_transformer_blocks.N`) give the text's tokens and
the picture's; the picture's are read. The guided model (dev) is told its pipeline's usual guidance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock, FluxTransformerBlock
from torch import nn

from vpd.features.families import Family, check_patches, eval_of, first_of, map_of_tokens
from vpd.features.noising import flowed

PATCH = 2
GUIDANCE = 3.5


class Flux(Family):
    """Words and picture share one attention, so that there is none of words alone."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = eval_of(pipeline.transformer)

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Text states `[P, L, D]` and pooled text `[P, E]`."""
        states, pooled, _ = self.pipeline.encode_prompt(list(prompts), None, device=self.pipeline.device)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        check_patches(latents, PATCH)
        n, channels, height, width = latents.shape
        packed = self.pipeline._pack_latents(latents, n, channels, height, width)  # [N, h w / 4, 4 C]
        places = self.pipeline._prepare_latent_image_ids(
            n, height // PATCH, width // PATCH, latents.device, latents.dtype
        )
        words = conditions["encoder_hidden_states"]
        per_sample = torch.ones(n, dtype=latents.dtype, device=latents.device)
        return self.network(
            hidden_states=packed,
            timestep=per_sample * timestep / self.pipeline.scheduler.config["num_train_timesteps"],
            guidance=per_sample * GUIDANCE if self.network.config["guidance_embeds"] else None,
            txt_ids=words.new_zeros(words.shape[1], 3),
            img_ids=places,
            **conditions,
            return_dict=False,
        )

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: float) -> torch.Tensor:
        return flowed(latents, noise, self.pipeline.scheduler, timestep)

    def as_map(self, layer: nn.Module, output: Any, latents: torch.Tensor) -> torch.Tensor:
        """A block gives (text, picture); attention inside a double one the picture first."""
        is_block = isinstance(layer, FluxTransformerBlock | FluxSingleTransformerBlock)
        return map_of_tokens(output[1] if is_block else first_of(output), latents, PATCH)


def build(pipeline: Any) -> Family:
    """The family of a `FluxPipeline`."""
    return Flux(pipeline)
