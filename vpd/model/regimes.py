"""Which part of a network learns: all of it, the head alone, low-rank additions to the backbone, chosen blocks.

Owns `model.train` in effect: which parameters have gradients, and the LoRA layers (through peft). Parameters without a
gradient keep no activation, need no optimiser state and cost no weight gradient; who learns how fast among the others
is `vpd.training.step.optim`'s. Weights are loaded before `apply_regime` where their file has none of the additions,
after it where a run goes on from its own checkpoint; everybody else reads them `merged`, under the plain network's
names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError, did_you_mean
from vpd.model.perception import Perception
from vpd.model.settings import LoraConfig, ModelConfig

_LORA = re.compile(r"\.lora_[AB]\.")


def apply_regime(model: Perception, config: ModelConfig) -> Perception:
    """Let only what `config.train` names have gradients; the same model, with LoRA layers if it asks for them.

    What a task already froze (`Backbone.expect_one_token`) stays frozen.

    Raises:
        ConfigError: blocks or layers that the backbone does not have, settings of another regime, peft is missing.
    """
    if config.train == "full":
        return model
    backbone: Any = model.backbone
    open_layers = {name for name, module in backbone.named_modules() if _learns(module)}
    if config.train == "head":
        model.requires_grad_(False)
        model.head.requires_grad_(True)
    elif config.train == "frozen":
        backbone.requires_grad_(False)
    elif config.train == "blocks":
        _open_blocks(backbone, config.blocks)
    else:
        backbone.requires_grad_(False)
        _add_lora(backbone, config.lora, open_layers)
    return model


def merged(weights: Mapping[str, torch.Tensor], lora: LoraConfig) -> dict[str, torch.Tensor]:
    """The weights of the plain network of the same outputs: every low-rank product added to what it stood beside.

    Args:
        weights: of a network with LoRA layers, by their names there; without them they come back as they are.
        lora: the settings they were trained with.
    """
    plain: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if _LORA.search(f".{name}"):
            continue
        layer, beside, kind = name.rpartition(".base_layer.")
        if beside and kind == "weight":
            down, up = (weights[f"{layer}.lora_{half}.default.weight"] for half in "AB")  # [r, in, ...], [out, r, ...]
            value = value + lora.scale * (up.flatten(1) @ down.flatten(1)).view_as(value)
        plain[f"{layer}.{kind}" if beside else name] = value
    return plain


def learned_share(model: nn.Module) -> tuple[int, int]:
    """How many parameters learn, and how many there are."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def _learns(module: nn.Module) -> bool:
    """Whether a layer has a weight that learns."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.requires_grad


def _open_blocks(backbone: nn.Module, blocks: tuple[str, ...]) -> None:
    """Freeze every parameter of the backbone that lies in none of the named modules."""
    names = {name for name, _ in backbone.named_modules() if name}
    full: dict[str, str] = {}  # as asked for -> as it is called here; a wrapper's own name ("unet.") may be left out
    for block in blocks:
        found = [name for name in names if name == block or name.partition(".")[2] == block]
        if not found:
            tops = sorted(name for name in names if re.fullmatch(r"(\w+\.)?(\w+_blocks\.\d+|mid_block)", name))
            raise ConfigError(
                f"model.blocks names {block!r}, which is no module of {type(backbone).__name__}. Its blocks: "
                f"{', '.join(tops)}; any module within one can be named, too.{did_you_mean(block, tops)}"
            )
        full[block] = found[0]
    inside = tuple(f"{name}." for name in full.values())
    for name, parameter in backbone.named_parameters():
        if not name.startswith(inside):
            parameter.requires_grad_(False)


def _add_lora(backbone: nn.Module, lora: LoraConfig, open_layers: set[str]) -> None:
    """Low-rank layers beside the backbone's linear layers of the named kinds, as far as they had an effect before."""
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "model.train is 'lora', and the package peft is not installed: pip install 'diffusion-perception[lora]'."
        ) from error
    linear = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    ends = {end: [name for name in linear if name == end or name.endswith(f".{end}")] for end in lora.layers}
    if missing := [end for end, names in ends.items() if not names]:
        kinds = sorted({re.sub(r"^.*\.(?=[a-z_]+(\.\d+)?$)", "", name) for name in linear})
        raise ConfigError(
            f"model.lora.layers names {missing[0]!r}, and no layer of {type(backbone).__name__} ends so. There are: "
            f"{', '.join(kinds)}.{did_you_mean(missing[0], kinds)}"
        )
    targets = sorted({name for names in ends.values() for name in names} & open_layers)
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha_in_force, lora_dropout=lora.dropout, target_modules=targets
    )
    peft.inject_adapter_in_model(settings, backbone)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(_LORA.search(f".{name}") is not None)
