"""The head of a UNet that answers in latents: in training its own output as it is, else that decoded to a map.

Owns the frozen decoder of the VAE, which is loaded when the first map is asked for, from the model that `model` names:
no checkpoint holds it, and nothing of it learns (docs/methods/label_latents.md#training).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from shards.errors import ConfigError
from shards.models.libraries import undisturbed
from vpd.backbones import FeatureSpec

if TYPE_CHECKING:
    from vpd.backbones.sd_unet.decoder import Decoder

WHO = "head label_latent"


class LabelLatentHead(nn.Module):
    """`[B, C, h, w]` latents in training; otherwise what they show, `[B, 1, H, W]` in [-1, 1].

    Args:
        spec: the one level of a backbone that gives its own output.
        model: hub id or diffusers folder whose VAE decodes: the one that made the labels.
        revision: branch, tag or commit of a hub model.
        latent_scale: factor on raw latents that the predicted ones have; the task says it.
        latent_shift: taken off raw latents before; the task says it.

    Raises:
        ConfigError: a backbone that gives a pyramid.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        model: str,
        revision: str | None = None,
        *,
        latent_scale: float = 1.0,
        latent_shift: float = 0.0,
    ) -> None:
        super().__init__()
        if [level.name for level in spec.levels] != ["latent"]:
            raise ConfigError(
                f"{WHO} reads the UNet's own output, the backbone gives the levels "
                f"{', '.join(level.name for level in spec.levels)}: set backbone.own_output=true."
            )
        self.model, self.revision = model, revision
        self.latent_scale, self.latent_shift = latent_scale, latent_shift
        self._decoder: Decoder | None = None

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int] | None, context: torch.Tensor
    ) -> torch.Tensor:
        """Latents or maps; arguments as of `vpd.heads.Head`, of which the last two are not read."""
        (latents,) = features
        if self.training:
            return latents.float()
        raw = latents.float() / self.latent_scale + self.latent_shift  # [B, C, h, w]
        return self._decode(raw).clamp(-1, 1).mean(dim=1, keepdim=True)  # [B, 1, H, W]

    def _decode(self, raw: torch.Tensor) -> torch.Tensor:
        if self._decoder is None:
            with undisturbed():
                from vpd.backbones.sd_unet.decoder import Decoder

            self._decoder = Decoder(WHO, self.model, self.revision)
        return self._decoder(raw)


build = LabelLatentHead
