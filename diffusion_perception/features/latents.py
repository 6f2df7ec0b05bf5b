"""From pictures to what a network is shown: pixels, latents of an ensemble, noise.

Owns the drawing of an ensemble's members. The rules of noise are `vpd.features.noising`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diffusion_perception.predicting.picture_record import as_pixels
from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vpd.features.families import Family

Noise = Literal["none", "ddpm"]
Posterior = Literal["mode", "sample"]


def pixels_of(pictures: Any, size_px: tuple[int, int] | None, like: torch.Tensor) -> torch.Tensor:
    """Pictures as `[B, 3, H, W]` in -1..1, in the type and on the device of `like`.

    Raises:
        ConfigError: pictures of several sizes and no `size_px`, or a tensor of another form.
        Reject: a picture that cannot be read.
    """
    import torch

    if isinstance(pictures, torch.Tensor):
        if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
            raise ConfigError(
                f"a tensor of pictures is float [B, 3, H, W] in -1..1; this one is {pictures.dtype}, "
                f"{list(pictures.shape)}."
            )
        return pictures.to(like)
    if isinstance(pictures, str) or not isinstance(pictures, Sequence) or not len(pictures):
        raise ConfigError("pictures are a list of at least one: files, PIL images, or uint8 arrays [H, W, 3].")
    levels = [_levels(picture, size_px) for picture in pictures]
    if len(sizes := {one.shape[:2] for one in levels}) > 1:
        raise ConfigError(
            f"pictures of {len(sizes)} sizes, such as {' and '.join(f'{h} x {w}' for h, w in sorted(sizes)[:2])}: "
            "give size_px=(height, width), which all are resized to, or ask for those of one size at a time."
        )
    stacked = torch.from_numpy(np.stack(levels)).movedim(-1, 1).contiguous()  # uint8 [B, 3, H, W]; as a tensor has it
    return ((stacked.float() / 255 - 0.5) * 2).to(like)


def _levels(picture: Any, size_px: tuple[int, int] | None) -> np.ndarray:
    """uint8 `[H, W, 3]`."""
    from PIL import Image

    if isinstance(picture, Image.Image):
        picture = np.asarray(picture.convert("RGB"))
    levels = as_pixels(picture)
    if size_px is None or levels.shape[:2] == tuple(size_px):
        return levels
    height, width = size_px
    return np.asarray(Image.fromarray(levels).resize((width, height)))  # Pillow's bicubic, as DIFT resizes


def latents_of(
    vae: Any, pixels: torch.Tensor, posterior: Posterior | torch.Tensor, ensemble: int, seed: int, batch_size: int
) -> torch.Tensor:
    """Unscaled latents `[B, E, C, h, w]` of pixels `[B, 3, H, W]`: the posterior's mode, or a sample for each member.

    Args:
        posterior: `mode`, `sample`, or the normal numbers of one, `[E, C, h, w]`.
    """
    import torch

    from vpd.features.noising import draws

    found = [vae.encode(part).latent_dist for part in pixels.split(batch_size)]
    mean = torch.cat([one.mean for one in found])  # [B, C, h, w]
    if isinstance(posterior, str) and posterior == "mode":
        return mean[:, None].expand(-1, ensemble, -1, -1, -1)
    if isinstance(posterior, str):
        posterior = draws(seed, "posterior", ensemble, tuple(mean.shape[1:]))
    std = torch.cat([one.std for one in found])
    return mean[:, None] + std[:, None] * _members(posterior, ensemble, mean, "posterior")


def with_noise(
    family: Family, clean: torch.Tensor, noise: Noise | torch.Tensor, timestep: float, seed: int
) -> torch.Tensor:
    """Scaled latents `[B, E, C, h, w]` with the noise of a timestep.

    Args:
        noise: `none`, `ddpm`, or the normal numbers, `[E, C, h, w]`.
    """
    from vpd.features.noising import draws

    if isinstance(noise, str) and noise == "none":
        return clean
    if isinstance(noise, str):
        noise = draws(seed, "noise", clean.shape[1], tuple(clean.shape[2:]))
    return family.noised(clean, _members(noise, clean.shape[1], clean[:, 0], "noise"), timestep)


def noise_shares(family: Family, timestep: float) -> tuple[float, float]:
    """How much of a latent and of noise is added up at a timestep, to six digits: the same on every machine."""
    import torch

    none, all_of_it = torch.zeros(1), torch.ones(1)
    shares = [float(family.noised(*pair, timestep)) for pair in ((all_of_it, none), (none, all_of_it))]
    return round(shares[0], 6), round(shares[1], 6)


def _members(values: torch.Tensor, ensemble: int, like: torch.Tensor, what: str) -> torch.Tensor:
    """Numbers `[E, C, h, w]` for latents `[B, C, h, w]`."""
    expected = (ensemble, *like.shape[1:])
    if tuple(values.shape) != expected:
        raise ConfigError(
            f"{what} has the shape {list(values.shape)}; an ensemble of {ensemble} over latents of "
            f"{list(like.shape[1:])} takes {list(expected)}."
        )
    return values.to(like)
