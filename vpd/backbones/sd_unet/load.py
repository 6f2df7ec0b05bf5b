"""Reads the UNet of a Stable Diffusion model, and refuses what the backbone could not run.

Owns what must hold before a UNet is used: a config without parts that `vpd.backbones.sd_unet.unet`'s forward pass
leaves out. Where it lies is `shards.models.parts`', that its weights are complete `vpd.backbones._loading`'s.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shards.errors import ConfigError
from shards.models.parts import find_part
from vpd.backbones._loading import load_complete
from vpd.backbones.sd_unet.facts import ADDED, WHO

PLAIN_CONFIG = {  # what the forward pass leaves out, and so must be absent from a config
    "class_embed_type": None,
    "encoder_hid_dim_type": None,
    "time_embedding_act_fn": None,
    "time_cond_proj_dim": None,
    "only_cross_attention": False,
    "dual_cross_attention": False,
    "center_input_sample": False,
}
BLOCKS = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UNetMidBlock2DCrossAttn"}


def load_unet(model: str, revision: str | None = None) -> UNet2DConditionModel:
    """The UNet in float32, with every weight its config asks for.

    Args:
        model: hub id, a local diffusers folder (with `unet/`), or a folder that is the UNet itself.
        revision: branch, tag or commit of a hub model.

    Raises:
        ConfigError: in the one form of `shards.models.parts`, when no UNet is there or it does not load; or the
            weights do not fit the config.
    """
    return load_complete(find_part(WHO, model, "unet", revision), UNet2DConditionModel.from_pretrained)


def unet_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The diffusers config of a model's UNet, without its weights; arguments and ConfigError as of `load_unet`."""
    config = find_part(WHO, model, "unet", revision, weights=False).config()
    return {key: value for key, value in config.items() if not key.startswith("_")}


def check_plain(unet: UNet2DConditionModel) -> None:
    """ConfigError if the model has blocks or conditioning beyond Stable Diffusion 1, 2 and XL."""
    found = {k: unet.config[k] for k, plain in PLAIN_CONFIG.items() if unet.config.get(k, plain) != plain}
    if unet.config.get("addition_embed_type") not in (None, ADDED):
        found["addition_embed_type"] = unet.config["addition_embed_type"]
    blocks = [*unet.down_blocks, *unet.up_blocks, *([] if unet.mid_block is None else [unet.mid_block])]
    kinds = {type(block).__name__ for block in blocks}
    if found or kinds - BLOCKS or not isinstance(unet.config["cross_attention_dim"], int):
        raise ConfigError(
            f"backbone sd_unet: cannot run a model with {found} and blocks {sorted(kinds - BLOCKS)}; expected the UNet "
            f"of a Stable Diffusion 1, 2 or XL (blocks {sorted(BLOCKS)}, one context width, no other conditioning)."
        )
