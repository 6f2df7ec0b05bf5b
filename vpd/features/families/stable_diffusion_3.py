"""Stable Diffusion 3: a transformer over patches of 2 x 2 latents, up to three text encoders, rectified flow.

Its blocks (`transformer_blocks.3`) give the text's tokens and the picture's; the picture's are read. Positions are a
crop of a table, and an odd side of the latents would lose its last row without a word: that is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.models.attention import JointTransformerBlock
from torch import nn

from vpd.features.families import Family, check_patches, eval_of, first_of, map_of_tokens
from vpd.features.noising import flowed


class StableDiffusion3(Family):
    """Words and picture share one attention, so that there is none of words alone."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = eval_of(pipeline.transformer)
        self.patch: int = pipeline.transformer.config["patch_size"]

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Text states `[P, L, D]` and pooled text `[P, E]`."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), None, None, device=self.pipeline.device, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        check_patches(latents, self.patch)
        steps = torch.full((len(latents),), timestep, dtype=latents.dtype, device=latents.device)
        return self.network(hidden_states=latents, timestep=steps, **conditions, return_dict=False)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: float) -> torch.Tensor:
        return flowed(latents, noise, self.pipeline.scheduler, timestep)

    def as_map(self, layer: nn.Module, output: Any, latents: torch.Tensor) -> torch.Tensor:
        """A block gives (text, picture), the last one's text None; layers inside give the picture first."""
        return map_of_tokens(
            output[1] if isinstance(layer, JointTransformerBlock) else first_of(output), latents, self.patch
        )


def build(pipeline: Any) -> Family:
    """The family of a `StableDiffusion3Pipeline`."""
    return StableDiffusion3(pipeline)
