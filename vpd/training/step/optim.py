"""AdamW: which parameter learns how fast, and which one decays.

Owns the parameter groups and their published presets. Curves over the run are `vpd.training.schedules`', stepping is
left to the loop. Facts: docs/methods/training.md#parameter-groups.

Published refer training sorts by substring. "norm" in the original names hits the norms of the transformer blocks
(`attentions.*.norm`, `.norm1-3`), which therefore do not decay; the resnets' group norms are called `in_layers.0`
there and the decoder's are called `bn`, so both decay. Its written UNet factor of 0.01 is never applied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError, did_you_mean
from vpd.training.settings import OptimConfig
from vpd.training.step.sharded import ShardedAdamW
from vpd.training.worker import Worker


@dataclass(frozen=True)
class GroupRule:
    """Parameters whose name matches, and what happens to them. The first rule that matches takes a parameter.

    Attributes:
        name: of the group.
        pattern: regular expression searched in the parameter's name in `vpd.model.perception.Perception`.
        lr_factor: multiplies the base learning rate.
        decay: whether weight decay applies.
        max_dims: only tensors of at most so many dimensions; 1 is norms, biases and gains.
    """

    name: str
    pattern: str
    lr_factor: float = 1.0
    decay: bool = True
    max_dims: int | None = None

    def takes(self, name: str, parameter: torch.Tensor) -> bool:
        """Whether the rule is about this parameter."""
        small = self.max_dims is None or parameter.ndim <= self.max_dims
        return small and re.search(self.pattern, name) is not None


def refer_rules(unet_factor: float) -> tuple[GroupRule, ...]:
    """The published groups of refer, with a learning-rate factor for the UNet."""
    return (
        GroupRule("backbone_norm", r"^backbone\..*\.attentions\.\d+\.(.*\.)?norm", unet_factor, decay=False),
        GroupRule("backbone", r"^backbone\.", unet_factor),
        GroupRule("norm", "norm", decay=False),
        GroupRule("rest", ""),
    )


def depth_rules(unet_factor: float) -> tuple[GroupRule, ...]:
    """The published groups of depth: tensors of one dimension do not decay, wherever they are."""
    return (
        GroupRule("backbone_no_decay", r"^backbone\.", unet_factor, decay=False, max_dims=1),
        GroupRule("backbone", r"^backbone\.", unet_factor),
        GroupRule("no_decay", "", decay=False, max_dims=1),
        GroupRule("rest", ""),
    )


PRESETS: dict[str, tuple[GroupRule, ...]] = {
    "paper": refer_rules(0.1),  # what the paper says
    "declared": refer_rules(0.01),  # what the published code writes down
    "effective": refer_rules(1.0),  # what the published code does
}
PRESETS |= {
    "depth": depth_rules(0.01),  # VPD's code
    "depth_paper": depth_rules(0.1),  # what the paper says
    "depth_mmseg": (  # biases do not decay, norms and the adapter's gain do
        GroupRule("backbone_bias", r"^backbone\..*\.bias$", 0.01, decay=False),
        GroupRule("backbone", r"^backbone\.", 0.01),
        GroupRule("bias", r"\.bias$", decay=False),
        GroupRule("rest", ""),
    ),
}
PRESETS |= {"vpd_paper": PRESETS["paper"], "vpd_code": PRESETS["effective"]}


PRESETS |= {
    # What the published code does: its rule for "norm" comes before the one for the UNet, so the norms of the
    # transformer blocks learn at the full rate and do not decay, where the rest of the UNet has a tenth and decays.
    "seg": (
        GroupRule("backbone_norm", r"^backbone\..*\.attentions\.\d+\.(.*\.)?norm", decay=False),
        GroupRule("backbone", r"^backbone\.", 0.1),
        GroupRule("norm", "norm", decay=False),
        GroupRule("rest", ""),
    ),
    "seg_paper": refer_rules(0.1),  # what the paper says: the whole UNet at a tenth
}
# ECoDepth's: VPD's depth groups, and ten times the rate for the table that its token is mixed of.
PRESETS |= {"ecodepth": (GroupRule("embeddings", r"^adapter\.embeddings$", 10.0), *depth_rules(0.01))}
# Meta Prompts took over VPD's groups (docs/methods/training.md#parameter-groups). Prompts and times are matrices
# outside the UNet, so they learn at the full rate and decay; the output head of the UNet learns with it.
PRESETS |= {"meta_prompts": PRESETS["depth"], "meta_prompts_seg": PRESETS["seg"]}


def named_groups(
    model: nn.Module, settings: OptimConfig, rules: Sequence[GroupRule] | None = None
) -> list[dict[str, Any]]:
    """Sort every trainable parameter into exactly one named group.

    Args:
        model: parameters without gradient are left out.
        settings: learning rate, weight decay and preset.
        rules: instead of the preset's.

    Returns:
        Groups for a torch optimiser, in the order of the rules, empty ones left out: `name`, `names` (of the
        parameters), `params`, `lr` (factor applied), `weight_decay`.

    Raises:
        ConfigError: unknown preset, a parameter that no rule takes, or none at all.
    """
    rules = preset_rules(settings) if rules is None else rules
    members: dict[str, list[str]] = {rule.name: [] for rule in rules}
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ConfigError(
            "nothing of this network learns: model.train names a part that has no weights, as the head label_latent "
            "has none. Choose another, such as model.train=lora."
        )
    for name, parameter in parameters.items():
        rule = next((rule for rule in rules if rule.takes(name, parameter)), None)
        if rule is None:
            raise ConfigError(f"optim: no group takes parameter {name!r}; rules: {[rule.name for rule in rules]}.")
        members[rule.name].append(name)
    return [
        {
            "name": rule.name,
            "names": names,
            "params": [parameters[name] for name in names],
            "lr": settings.lr * rule.lr_factor,
            "weight_decay": settings.weight_decay if rule.decay else 0.0,
        }
        for rule in rules
        if (names := members[rule.name])
    ]


def preset_rules(settings: OptimConfig) -> tuple[GroupRule, ...]:
    """The rules of the preset that settings name; ConfigError if there is none."""
    if settings.preset not in PRESETS:
        raise ConfigError(
            f"optim.preset {settings.preset!r} is unknown; choose one of {', '.join(sorted(PRESETS))}."
            f"{did_you_mean(settings.preset, PRESETS)}"
        )
    return PRESETS[settings.preset]


def build_optimizer(
    groups: Sequence[dict[str, Any]], settings: OptimConfig, worker: Worker | None = None
) -> torch.optim.AdamW:
    """AdamW over the groups, fused: one kernel (docs/methods/performance.md#optimiser), which leaves everything as it
    is where a tensor `found_inf` on the device says so. With shares, if the settings ask and there are `worker`s."""
    options: dict[str, Any] = {"lr": settings.lr, "betas": settings.betas, "fused": True}
    if settings.sharded and worker is not None and worker.world > 1:
        return ShardedAdamW(groups, worker, **options)
    return torch.optim.AdamW(groups, **options)
