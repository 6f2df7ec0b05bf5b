"""Latents back to pictures, for people to look at: the decoder of Stable Diffusion's VAE.

No part of a build or a training. The digest of a set covers the encoder alone, so that is what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pipeline.encoders._loading import check_device, weights_sha256
from pipeline.encoders.sd_vae.encoder import load_vae, moments_of

Decode = Callable[[np.ndarray], np.ndarray]


def load(model: str, revision: str | None, device: str) -> tuple[Decode, str]:
    """(latent [C, h, w] as stored -> uint8 [H, W, 3], digest of the encoder's weights). ConfigError."""
    target = check_device("sd_vae", device)
    vae: Any = load_vae(model, revision)  # diffusers says FloatTensor of every tensor
    digest = weights_sha256(moments_of(vae).named_parameters())
    vae = vae.to(target).eval().requires_grad_(False)

    @torch.inference_mode()
    def decode(latent: np.ndarray) -> np.ndarray:
        stored = torch.from_numpy(latent.astype(np.float32))[None].to(target)  # [1, C, h, w], unscaled
        levels = (vae.decode(stored).sample[0].clamp(-1, 1) + 1) * 127.5  # [3, H, W]
        return levels.round().byte().permute(1, 2, 0).cpu().numpy()

    return decode, digest
