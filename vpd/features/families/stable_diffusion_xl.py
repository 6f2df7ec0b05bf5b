"""Stable Diffusion XL: a UNet of three levels, two text encoders, and the picture's size as a condition.

The size conditions are those of a picture that was not cropped: its own size, no offset, its own size again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vpd.features.families import Family
from vpd.features.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """The UNet with its added embeddings."""

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Text states `[P, 77, D]`, pooled text `[P, E]` and sizes `[P, 6]`."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        sizes = torch.tensor([[*size_px, 0, 0, *size_px]], dtype=states.dtype, device=states.device)
        return {"encoder_hidden_states": states, "text_embeds": pooled, "time_ids": sizes.repeat(len(prompts), 1)}

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        added = {name: conditions[name] for name in ("text_embeds", "time_ids")}
        states = conditions["encoder_hidden_states"]
        return self.network(latents, timestep, encoder_hidden_states=states, added_cond_kwargs=added, return_dict=False)


def build(pipeline: Any) -> Family:
    """The family of a `StableDiffusionXLPipeline`."""
    return StableDiffusionXL(pipeline)
