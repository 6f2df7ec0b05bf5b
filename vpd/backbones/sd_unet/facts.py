"""What a Stable Diffusion UNet's config says before anything is built: widths, levels, and the encoders beside it.

Owns what of the family no config says. Where `unet/config.json` lies is `shards.models.parts`', weights are
`vpd.backbones.sd_unet.load`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shards.errors import ConfigError
from shards.models.parts import find_config
from vpd.backbones import BackboneFacts, Companions, LatentLayout, Level

WHO = "backbone sd_unet"  # in messages
COMPANIONS = Companions(image="sd_vae", text="clip_text")
XL_COMPANIONS = Companions(image="sd_vae", text="sdxl_text")
STRIDE_PX = 8  # of the VAE of every Stable Diffusion 1, 2 and XL
SCALE = 0.18215  # which its latents were trained at; published perception methods leave it out
XL_SCALE = 0.13025
ADDED = "text_time"  # how a config says that the network is told pooled text and sizes, too
SIZES = 6  # height, width, crop's offset, and again height, width
SD1 = {"in_channels": 4, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}


def facts_of(config: Mapping[str, Any]) -> BackboneFacts:
    """Facts of a UNet with this diffusers config.

    Raises:
        ConfigError: not the config of such a UNet.
    """
    channels, width, inputs = (config.get(n) for n in ("block_out_channels", "cross_attention_dim", "in_channels"))
    if not isinstance(channels, list | tuple) or not isinstance(width, int) or not isinstance(inputs, int):
        raise ConfigError(
            f"backbone sd_unet: the config says block_out_channels {channels!r}, cross_attention_dim {width!r} and "
            f"in_channels {inputs!r}; expected the levels, one context width and the latents' channels of a Stable "
            "Diffusion 1 or 2 UNet."
        )
    levels = tuple(Level(f"f{i + 1}", int(wide), STRIDE_PX << i) for i, wide in enumerate(channels))
    said = {key: value for key, value in config.items() if not key.startswith("_")}
    if config.get("addition_embed_type") != ADDED:
        return BackboneFacts(COMPANIONS, LatentLayout(inputs, STRIDE_PX, SCALE), width, levels, config=said)
    # SDXL: each token carries the pooled text behind its state
    told, size = (config.get(n) for n in ("projection_class_embeddings_input_dim", "addition_time_embed_dim"))
    if not isinstance(told, int) or not isinstance(size, int) or not 0 < SIZES * size < told:
        raise ConfigError(
            f"backbone sd_unet: the config says projection_class_embeddings_input_dim {told!r} and "
            f"addition_time_embed_dim {size!r}; expected an SDXL's, pooled text and {SIZES} sizes."
        )
    pooled = told - SIZES * size
    latents = LatentLayout(inputs, STRIDE_PX, XL_SCALE)
    return BackboneFacts(XL_COMPANIONS, latents, width + pooled, levels, config=said, carried_width=pooled)


def read_facts(model: str, revision: str | None = None) -> BackboneFacts:
    """Facts of a model from its `unet/config.json`; of a hub model that is not cached, those of Stable Diffusion 1.

    Raises:
        ConfigError: a folder without a UNet, or no folder at an absolute path.
    """
    config = find_config(WHO, model, "unet", revision)
    if config is None:
        why = f"backbone of Stable Diffusion 1 (4 latent channels, context 768 wide): {model} is not in the local cache"
        return replace(facts_of(SD1), assumed=why)
    return facts_of(config)
