"""What an encoder of given sizes stores, said without weights."""

from __future__ import annotations

from pipeline.encoders import ImageFacts

MEAN, LOGVAR = "raw VAE posterior mean, unscaled", "log of the VAE posterior variance, unscaled"


def facts(channels: int, stride_px: int, logvar: bool, assumed: str = "") -> ImageFacts:
    """An encoder of these sizes."""
    stored = {"latent": MEAN, "logvar": LOGVAR} if logvar else {"latent": MEAN}
    return ImageFacts("sd_vae", channels, stride_px, stored, assumed)


def stride_of(levels: int) -> int:
    """Pixels per latent pixel: every level but the last halves a side."""
    return 2 ** (levels - 1)
