"""Stable Diffusion's UNet as a backbone: the plug-in `sd_unet`. Its libraries are imported when one is built.

unet        the forward pass, its taps and passes          layers      one layer of it, and which give maps
attention   cross-attention that keeps its probabilities   load        weights from a folder or hub id, checked
sizes       a configuration read off the weights           keys        names in original (LDM) checkpoints
added       what SDXL is told beside text and time
folder      a part written as a diffusers folder           facts       what its config says without the weights
decoder     latents as pictures, by the model's VAE
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shards.models.libraries import undisturbed
from vpd.backbones import Backbone, BackboneFacts
from vpd.backbones.sd_unet.facts import read_facts


def build(
    model: str,
    revision: str | None = None,
    *,
    attention_maps: str | Sequence[str] = "up+down",
    map_levels: Sequence[int] = (2, 4),
    attention_grad: bool = False,
    timestep: int | None = 1,
    output_head: bool = False,
    own_output: bool = False,
    resize_skips: bool = False,
    gradient_checkpointing: bool | Sequence[int] = False,
) -> Backbone:
    """Load the UNet of a Stable Diffusion model, in float32.

    Args:
        model: hub id, a local diffusers folder (with `unet/`), or a folder that is the UNet itself.
        revision: branch, tag or commit of a hub model.
        attention_maps, map_levels, attention_grad, timestep, output_head, resize_skips, gradient_checkpointing: see
            `SdUnet`.
        own_output: see `SdUnet`.

    Raises:
        ConfigError: the model cannot be loaded completely, or a setting does not fit it.
    """
    with undisturbed():
        from vpd.backbones.sd_unet.load import load_unet
        from vpd.backbones.sd_unet.unet import SdUnet

    return SdUnet(
        load_unet(model, revision),
        attention_maps=attention_maps,
        map_levels=map_levels,
        attention_grad=attention_grad,
        timestep=timestep,
        output_head=output_head,
        own_output=own_output,
        resize_skips=resize_skips,
        gradient_checkpointing=gradient_checkpointing,
    )


def describe(model: str, revision: str | None = None, **other: Any) -> BackboneFacts:
    """What the UNet's config says; other options of `build` change nothing here.

    Raises:
        ConfigError: no UNet there.
    """
    return read_facts(model, revision)


def read_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The UNet's diffusers config, for `from_config`.

    Raises:
        ConfigError: no UNet there.
    """
    with undisturbed():
        from vpd.backbones.sd_unet.load import unet_config

    return unet_config(model, revision)


def from_config(config: Mapping[str, Any], **options: Any) -> Backbone:
    """Random weights: `config` as in a diffusers `unet/config.json`, `options` as of `SdUnet`."""
    with undisturbed():
        from vpd.backbones.sd_unet.unet import SdUnet

    return SdUnet.from_config(config, **options)
