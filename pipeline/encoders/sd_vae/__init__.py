"""Stable Diffusion's VAE encoder: the plug-in `sd_vae`, pixels in [-1, 1] -> raw posterior mean.

Owns the settings and what is known of the encoder without weights; the network and its arithmetic are `encoder`'s,
which is imported when one is built.
"""

from __future__ import annotations

from typing import Any

from pipeline.encoders import ImageEncoder, ImageFacts
from pipeline.encoders._configs import number, part_config
from pipeline.encoders.sd_vae.sizes import facts, stride_of
from shards.errors import ConfigError

DTYPES = ("float32", "float16")
SD1_CHANNELS, SD1_STRIDE_PX = 4, 8  # assumed where no config is at hand


def build(
    model: str,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    tf32: bool = True,
    logvar: bool = False,
) -> ImageEncoder:
    """Load the encoder.

    Args:
        model: hub id, diffusers folder, or a folder that is itself the VAE.
        revision: branch, tag or commit of a hub model.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.
        tf32: let an NVIDIA GPU compute float32 in TF32.
        logvar: store the posterior's log variance, too.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit.
    """
    if dtype not in DTYPES:
        reason = "; bfloat16 has 8 times the error of float16 at the same speed" if dtype == "bfloat16" else ""
        raise ConfigError(f"sd_vae: dtype is {dtype!r}, expected float32 or float16{reason}")
    from pipeline.encoders.sd_vae.encoder import load

    return load(model, revision, dtype=dtype, device=device, tf32=tf32, logvar=logvar)


def describe(model: str, revision: str | None = None, logvar: bool = False, **other: Any) -> ImageFacts:
    """What `vae/config.json` says; other options of `build` change nothing here.

    Raises:
        ConfigError: no VAE there.
    """
    config = part_config("sd_vae", model, "vae", revision)
    if config is None:
        why = f"{SD1_CHANNELS} x size/{SD1_STRIDE_PX} as in Stable Diffusion 1: {model} is not in the local cache"
        return facts(SD1_CHANNELS, SD1_STRIDE_PX, logvar, f"latents of {why}")
    levels = config.get("block_out_channels")
    if not isinstance(levels, list) or not levels:
        raise ConfigError(
            f"sd_vae: the config.json of {model!r} says block_out_channels = {levels!r}; expected that of an "
            "AutoencoderKL. Point at the VAE of a Stable Diffusion model"
        )
    return facts(number("sd_vae", model, config, "latent_channels"), stride_of(len(levels)), logvar)
