"""Pictures drawn from captions by the tiny model: deterministic DDIM with guidance, decoded by its VAE."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from PIL import Image
from transformers import CLIPTokenizer

from demo.grid import captioned_grid
from demo.pretrain.autoencoder import SCALING, decoded
from demo.pretrain.denoiser import Denoiser, noise_schedule, tokens_of

CAPTIONS = (
    "a photo of a red circle",
    "the big blue square on the left",
    "a room with a yellow triangle and a pole",
    "green cross on the right and purple circle on the left",
    "white square at the top and red triangle at the bottom",
    "a photo of pebbles on the floor",
    "the small purple cross and big yellow circle",
    "",
)


@torch.no_grad()
def sampled(
    model: Denoiser,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    seed: int,
    steps: int,
    guidance: float = 3.0,
    side: int = 16,
) -> Image.Image:
    """A sheet of one picture for each of CAPTIONS."""
    scheduler: Any = DDIMScheduler.from_config(noise_schedule().config, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(steps)
    number = len(CAPTIONS)
    tokens = tokens_of(tokenizer, [*CAPTIONS, *[""] * number])  # [2 N, L]
    latents = torch.randn(number, 4, side, side, generator=torch.Generator().manual_seed(seed))  # [N, 4, h, w]
    for time in scheduler.timesteps:
        told, untold = model(torch.cat([latents, latents]), time, tokens).chunk(2)
        latents = scheduler.step(untold + guidance * (told - untold), int(time), latents).prev_sample
    pixels = (
        ((decoded(vae, latents / SCALING).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    )  # [N, H, W, 3]
    cells = [
        (np.ascontiguousarray(image), caption or "(no caption)")
        for image, caption in zip(pixels, CAPTIONS, strict=True)
    ]
    return captioned_grid(cells, columns=4, cell_px=(192, 340))
