"""What `sd_vae` is before its weights are read: from `vae/config.json`, or of these sizes once it is loaded."""

from __future__ import annotations

from pipeline.encoders import ImageFacts
from pipeline.encoders._configs import number
from shards.errors import ConfigError
from shards.models.parts import find_config

MEAN, LOGVAR = "raw VAE posterior mean, unscaled", "log of the VAE posterior variance, unscaled"
SD1_CHANNELS, SD1_STRIDE_PX = 4, 8  # assumed where no config is at hand


def read_facts(model: str, revision: str | None, logvar: bool) -> ImageFacts:
    """Of a model; of a hub model that is not cached, the sizes of Stable Diffusion 1.

    Raises:
        ConfigError: no VAE there.
    """
    config = find_config("sd_vae", model, "vae", revision)
    if config is None:
        sizes = f"{SD1_CHANNELS} x size/{SD1_STRIDE_PX}"
        why = f"latents of {sizes} as in Stable Diffusion 1: {model} is not in the local cache"
        return facts_of(SD1_CHANNELS, SD1_STRIDE_PX, logvar, why)
    levels = config.get("block_out_channels")
    if not isinstance(levels, list) or not levels:
        raise ConfigError(
            f"sd_vae: the config.json of {model!r} says block_out_channels = {levels!r}; expected that of an "
            "AutoencoderKL. Point at the VAE of a Stable Diffusion model"
        )
    return facts_of(number("sd_vae", model, config, "latent_channels"), stride_of(len(levels)), logvar)


def facts_of(channels: int, stride_px: int, logvar: bool, assumed: str = "") -> ImageFacts:
    """Of an encoder of these sizes; `logvar`: the log variance is stored, too."""
    stored = {"latent": MEAN, "logvar": LOGVAR} if logvar else {"latent": MEAN}
    return ImageFacts("sd_vae", channels, stride_px, stored, assumed)


def stride_of(levels: int) -> int:
    """Pixels per latent pixel: every level but the last halves a side."""
    return 2 ** (levels - 1)
