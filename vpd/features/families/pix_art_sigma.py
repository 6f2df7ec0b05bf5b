"""PixArt-Sigma: a transformer over patches of 2 x 2 latents with cross-attention to T5's words, noise of DDPM.

Words behind the end of a prompt are masked, as the pipeline masks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from vpd.features.families import Family, check_patches, eval_of, first_of, map_of_tokens
from vpd.features.noising import diffused


class PixArtSigma(Family):
    """Blocks (`transformer_blocks.N`) with cross-attention beside self-attention, as a UNet has it."""

    cross_attention = ".attn2"
    self_attention = ".attn1"

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = eval_of(pipeline.transformer)
        self.patch: int = pipeline.transformer.config["patch_size"]

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Text states `[P, L, D]` and which of them are words, `[P, L]`."""
        states, mask, *_ = self.pipeline.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, device=self.pipeline.device
        )
        return {"encoder_hidden_states": states, "encoder_attention_mask": mask}

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        check_patches(latents, self.patch)
        steps = torch.full((len(latents),), timestep, device=latents.device)
        added = {"resolution": None, "aspect_ratio": None}  # conditions of PixArt-alpha, by the same network's class
        return self.network(latents, timestep=steps, added_cond_kwargs=added, **conditions, return_dict=False)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: float) -> torch.Tensor:
        return diffused(latents, noise, self.pipeline.scheduler, timestep)

    def as_map(self, layer: nn.Module, output: Any, latents: torch.Tensor) -> torch.Tensor:
        return map_of_tokens(first_of(output), latents, self.patch)


def build(pipeline: Any) -> Family:
    """The family of a `PixArtSigmaPipeline`."""
    return PixArtSigma(pipeline)
