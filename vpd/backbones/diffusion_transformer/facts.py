"""What a diffusion transformer's config says before anything is built: widths, levels, and the encoders beside it.

Owns what of the families no config says: which text encoder belongs to one, and the scale and shift of its latents.
Where `transformer/config.json` lies is `shards.models.parts`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shards.errors import ConfigError
from shards.models.parts import find_config
from vpd.backbones import BackboneFacts, Companions, LatentLayout, Level

WHO = "backbone diffusion_transformer"  # in messages
VAE_STRIDE_PX = 8  # of every family's VAE
LEVEL_STRIDES_PX = (8, 16, 32, 64)  # as of a UNet, so that every head takes them
PATCH = 2  # latents along each side of a token, in every family


@dataclass(frozen=True)
class FamilyFacts:
    """What a config does not say, and under which names it says the rest.

    Attributes:
        module: of `passes`.
        text: the text encoder's plug-in.
        scale, shift: of the latents the family was trained on.
        blocks: the config's counts of blocks, which run in this order.
        context: its name of a text state's width.
        carried: its name of the width of pooled text, that tokens carry; empty: they carry a mark, 1 for a word.
    """

    module: str
    text: str
    scale: float
    shift: float
    blocks: tuple[str, ...]
    context: str
    carried: str = ""


FAMILIES: Mapping[str, FamilyFacts] = {
    "PixArtTransformer2DModel": FamilyFacts(
        "pixart", "pixart_text", 0.13025, 0.0, ("num_layers",), context="caption_channels"
    ),
    "SD3Transformer2DModel": FamilyFacts(
        "sd3", "sd3_text", 1.5305, 0.0609, ("num_layers",), "joint_attention_dim", "pooled_projection_dim"
    ),
    "FluxTransformer2DModel": FamilyFacts(
        *("flux", "flux_text", 0.3611, 0.1159, ("num_layers", "num_single_layers")),
        *("joint_attention_dim", "pooled_projection_dim"),
    ),
}


def family_of(config: Mapping[str, Any]) -> FamilyFacts:
    """The family of a config.

    Raises:
        ConfigError: none of these.
    """
    name = config.get("_class_name")
    family = FAMILIES.get(str(name))
    if family is None:
        raise ConfigError(f"{WHO}: the config is of a {name!r}; expected one of {', '.join(FAMILIES)}.")
    return family


def facts_of(config: Mapping[str, Any]) -> BackboneFacts:
    """Facts of a transformer with this diffusers config, its `_class_name` included.

    Raises:
        ConfigError: not the config of such a transformer.
    """
    family = family_of(config)
    carried = _number(config, family.carried) if family.carried else 1
    width = _number(config, "num_attention_heads") * _number(config, "attention_head_dim")
    for blocks in family.blocks:
        _number(config, blocks)
    channels, rest = divmod(_number(config, "in_channels"), PATCH**2 if family.module == "flux" else 1)
    if rest:
        raise ConfigError(f"{WHO}: the config says in_channels {config['in_channels']}; expected {PATCH**2} a channel.")
    if config.get("patch_size") not in (PATCH, None) and family.module != "flux":
        raise ConfigError(f"{WHO}: the config says patch_size {config['patch_size']!r}; expected {PATCH}.")
    levels = tuple(Level(f"f{i + 1}", width, stride) for i, stride in enumerate(LEVEL_STRIDES_PX))
    said = {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
    return BackboneFacts(
        Companions(image="sd_vae", text=family.text),
        LatentLayout(channels, VAE_STRIDE_PX, family.scale, family.shift),
        _number(config, family.context) + carried,
        levels,
        config=said,
        carried_width=carried,
    )


def read_facts(model: str, revision: str | None = None) -> BackboneFacts:
    """Facts of a model from its `transformer/config.json`.

    Raises:
        ConfigError: no transformer there, or a hub model that is not in the local cache: families are too different
            for sizes to be assumed.
    """
    config = find_config(WHO, model, "transformer", revision)
    if config is None:
        raise ConfigError(
            f"{WHO}: {model} is not in the local cache, and its sizes cannot be assumed. Fetch it first (`hf download "
            f"{model}`), or give a folder."
        )
    return facts_of(config)


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{WHO}: the config of a {config.get('_class_name')} says {name} = {value!r}; expected a whole number."
        )
    return value
