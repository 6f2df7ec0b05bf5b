"""Reads the UNet of a Stable Diffusion model, and refuses what the backbone could not run.

Owns where a UNet may lie (hub id, diffusers folder), and what must hold before it is used: complete weights, and a
config without parts that `vpd.backbones.sd_unet.unet`'s forward pass leaves out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError

from shards.errors import ConfigError

PLAIN_CONFIG = {  # what the forward pass leaves out, and so must be absent from a config
    "class_embed_type": None,
    "addition_embed_type": None,
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
        ConfigError: nothing loads from there, or the weights do not fit the config.
    """
    subfolder = None if (Path(model) / "config.json").is_file() else "unet"
    try:
        if Path(model).is_absolute() and not Path(model).is_dir():
            raise FileNotFoundError("there is no such folder")  # before it is looked up on the hub
        loaded: Any = UNet2DConditionModel.from_pretrained(
            model,
            subfolder=subfolder,
            revision=revision,
            torch_dtype=torch.float32,
            output_loading_info=True,
            # Else it depends on whether `accelerate` is installed: a warning without it, and with it fewer random
            # numbers drawn before the head takes its own.
            low_cpu_mem_usage=False,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"backbone sd_unet: no UNet loads from {model!r} (revision {revision!r}): {cause} "
            "Expected a hub id, or a diffusers folder holding unet/config.json and its weights."
        ) from error
    unet, report = loaded
    faults = {kind: report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[kind]}
    if faults:
        found = "; ".join(f"{len(keys)} {kind.replace('_', ' ')}, e.g. {keys[0]}" for kind, keys in faults.items())
        raise ConfigError(f"backbone sd_unet: the weights of {model!r} do not fit its config: {found}.")
    return unet


def unet_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The diffusers config of a model's UNet, without its weights; arguments and ConfigError as of `load_unet`."""
    subfolder = None if (Path(model) / "config.json").is_file() else "unet"
    try:
        config: Any = UNet2DConditionModel.load_config(model, subfolder=subfolder, revision=revision)
    except (OSError, ValueError) as error:
        raise ConfigError(f"backbone sd_unet: no UNet config is found in {model!r} (revision {revision!r}).") from error
    return {key: value for key, value in dict(config).items() if not key.startswith("_")}


def check_plain(unet: UNet2DConditionModel) -> None:
    """ConfigError if the model has blocks or conditioning beyond Stable Diffusion 1 and 2."""
    found = {k: unet.config[k] for k, plain in PLAIN_CONFIG.items() if unet.config.get(k, plain) != plain}
    kinds = {type(block).__name__ for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]}
    if found or kinds - BLOCKS or not isinstance(unet.config["cross_attention_dim"], int):
        raise ConfigError(
            f"backbone sd_unet: cannot run a model with {found} and blocks {sorted(kinds - BLOCKS)}; expected a Stable "
            f"Diffusion 1 or 2 UNet (blocks {sorted(BLOCKS)}, one context width, no extra conditioning)."
        )
