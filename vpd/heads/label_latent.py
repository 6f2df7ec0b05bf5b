"""The head of a UNet that answers in latents: in training its own output as it is, else that decoded to a map.

Owns the frozen decoder of the VAE, which is loaded when the first map is asked for, from the model that `model` names:
no checkpoint holds it, and nothing of it learns. A loss that is taken of the map has it decode in training, too
(docs/methods/label_latents.md#training).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shards.errors import ConfigError
from shards.models.libraries import undisturbed
from vpd.backbones import FeatureSpec

if TYPE_CHECKING:
    from vpd.backbones.sd_unet.decoder import Decoder

WHO = "head label_latent"


class LabelLatentHead(nn.Module):
    """`[B, C, h, w]` latents in training; otherwise what they show, `[B, K, H, W]` in [-1, 1].

    Args:
        spec: the one level of a backbone that gives its own output.
        model: hub id or diffusers folder whose VAE decodes: the one that made the labels.
        revision: branch, tag or commit of a hub model.
        decoder_checkpointing: compute the decoder's maps again in the backward pass, where a loss is taken of the map.
        latent_scale: factor on raw latents that the predicted ones have; the task says it.
        latent_shift: taken off raw latents before; the task says it.
        channels: K, 1 for the mean of the decoded picture's channels, or 3; the task says it.
        decodes: in training, too, for a loss that is taken of the map; the task says it.

    Raises:
        ConfigError: a backbone that gives a pyramid.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        model: str,
        revision: str | None = None,
        decoder_checkpointing: bool = False,
        *,
        latent_scale: float = 1.0,
        latent_shift: float = 0.0,
        channels: int = 1,
        decodes: bool = False,
    ) -> None:
        super().__init__()
        if [level.name for level in spec.levels] != ["latent"]:
            raise ConfigError(
                f"{WHO} reads the UNet's own output, the backbone gives the levels "
                f"{', '.join(level.name for level in spec.levels)}: set backbone.own_output=true."
            )
        self.model, self.revision, self.decoder_checkpointing = model, revision, decoder_checkpointing
        self.latent_scale, self.latent_shift = latent_scale, latent_shift
        self.channels, self.decodes = channels, decodes
        self._decoder: Decoder | None = None
        # Says where a head without weights is. Named, since a network that is loaded is first made without values.
        self.register_buffer("_place", torch.zeros((), device="cpu"), persistent=False)
        self._place: torch.Tensor

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int] | None, context: torch.Tensor
    ) -> torch.Tensor:
        """Latents or maps; arguments as of `vpd.heads.Head`, of which the last two are not read."""
        (latents,) = features
        if self.training and not self.decodes:
            return latents.float()
        if self._decoder is None:
            self.load_decoder()
        assert self._decoder is not None
        raw = latents.float() / self.latent_scale + self.latent_shift  # [B, C, h, w]
        shown = self._decoder(raw)  # [B, 3, H, W]
        return (shown.mean(dim=1, keepdim=True) if self.channels == 1 else shown).clamp(-1, 1)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As of every module. The decoder is loaded before, where the head is: loading cannot be traced."""
        self.load_decoder()
        super().compile(*args, **kwargs)

    def load_decoder(self) -> None:
        """Have the decoder here before the first map is asked for.

        Raises:
            ConfigError: no VAE there.
        """
        with undisturbed():
            from vpd.backbones.sd_unet.decoder import Decoder

        self._decoder = Decoder(WHO, self.model, self.revision, self.decoder_checkpointing)
        self._decoder.move(self._place.device)


build = LabelLatentHead
