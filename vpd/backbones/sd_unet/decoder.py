"""The decoder of the VAE that belongs to a UNet: raw latents as pictures, for a model that answers in latents.

Owns loading it, whole and frozen. Encoding is the build side's.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from shards.models.parts import find_part
from vpd.backbones._loading import load_complete


class Decoder:
    """No module: it is no part of a network, and in no checkpoint.

    Args:
        who: asks, for messages.
        model: hub id, or diffusers folder with `vae/`.
        revision: branch, tag or commit of a hub model.
        checkpointing: compute its maps again in a backward pass in place of keeping them.

    Raises:
        ConfigError: no VAE there, or weights that do not fit its config.
    """

    def __init__(self, who: str, model: str, revision: str | None, checkpointing: bool = False) -> None:
        vae = load_complete(find_part(who, model, "vae", revision), AutoencoderKL.from_pretrained)
        self._vae: Any = vae.eval().requires_grad_(False)  # diffusers says FloatTensor of every tensor
        if checkpointing:
            self._vae.enable_gradient_checkpointing()
        self._device = torch.device("cpu")

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures `[B, 3, H, W]` in about [-1, 1] of raw latents `[B, C, h, w]`, float32, where these are. Gradients
        reach the latents."""
        if latents.device != self._device:
            self.move(latents.device)
        kind = latents.device.type  # meta where a step is only planned, which knows no autocast
        with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            return self._vae.decode(latents.float(), return_dict=False)[0]

    def move(self, device: torch.device) -> None:
        """To where the latents will be."""
        self._vae.to(device)
        self._device = device
