"""Stable Diffusion's VAE encoder: the plug-in `sd_vae`, pixels in [-1, 1] -> raw posterior mean.

Owns its settings. What is known without weights is `facts`', the network and its arithmetic are `encoder`'s, which is
imported when one is built; the way back, for people, is `decoding`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pipeline.encoders import ImageEncoder, ImageFacts
from pipeline.encoders.sd_vae.facts import read_facts
from shards.errors import ConfigError
from shards.models.libraries import undisturbed

DTYPES = ("float32", "float16")


def build(
    model: str,
    revision: str | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    device: str = "cpu",
    tf32: bool = True,
    logvar: bool = False,
    compiled: bool = False,
) -> ImageEncoder:
    """Load the encoder.

    Args:
        model: hub id, diffusers folder, or a folder that is itself the VAE.
        revision: branch, tag or commit of a hub model.
        dtype: of the computation, float32 or float16.
        device: cpu, cuda or cuda:<number>.
        tf32: let an NVIDIA GPU compute float32 in TF32.
        logvar: store the posterior's log variance, too.
        compiled: compile the network, with channels innermost: other bits, so other sets, and faster on a GPU.

    Raises:
        ConfigError: nothing loads from there, or a setting does not fit.
    """
    if dtype not in DTYPES:
        reason = "; bfloat16 has 8 times the error of float16 at the same speed" if dtype == "bfloat16" else ""
        raise ConfigError(f"sd_vae: dtype is {dtype!r}, expected float32 or float16{reason}")
    with undisturbed():
        from pipeline.encoders.sd_vae.encoder import load

    return load(model, revision, dtype=dtype, device=device, tf32=tf32, logvar=logvar, compiled=compiled)


def decoder(model: str, revision: str | None = None, device: str = "cpu") -> tuple[Callable[..., Any], str]:
    """What shows latents as pictures, and the digest of the encoder that belongs to it.

    Raises:
        ConfigError: nothing loads from there.
    """
    with undisturbed():
        from pipeline.encoders.sd_vae.decoding import load

    return load(model, revision, device)


def describe(model: str, revision: str | None = None, logvar: bool = False, **other: Any) -> ImageFacts:
    """What `vae/config.json` says; other options of `build` change nothing here.

    Raises:
        ConfigError: no VAE there.
    """
    return read_facts(model, revision, logvar)
