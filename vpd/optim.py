"""AdamW: which parameter learns how fast, which one decays, and how the rate changes over the run.

Owns the parameter groups, their published presets and the learning-rate curves. Stepping is left to the loop. Facts:
vpd_spec.md 5.2 (depth), 6.5 (segmentation), 7.4 (refer); oracle.md 5.3 `optimizer_groups`.

Published refer training sorts by substring. "norm" in the original names hits the norms of the transformer blocks
(`attentions.*.norm`, `.norm1-3`), which therefore do not decay; the resnets' group norms are called `in_layers.0`
there and the decoder's are called `bn`, so both decay. Its written UNet factor of 0.01 is never applied.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.config import OptimConfig

Schedule = Callable[[int], float]  # finished steps -> factor on the learning rate; pure, so resuming needs no state


@dataclass(frozen=True)
class GroupRule:
    """Parameters whose name matches, and what happens to them. The first rule that matches takes a parameter.

    Attributes:
        name: of the group.
        pattern: regular expression searched in the parameter's name in `vpd.model.Perception`.
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
# Meta Prompts took over VPD's groups (vpd_spec.md 10.3, 10.8). Prompts and times are matrices outside the UNet, so they
# learn at the full rate and decay; the output head of the UNet learns with it.
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
        ConfigError: unknown preset, or a parameter that no rule takes.
    """
    if rules is None:
        if settings.preset not in PRESETS:
            raise ConfigError(
                f"optim.preset {settings.preset!r} is unknown; choose one of {', '.join(sorted(PRESETS))}."
            )
        rules = PRESETS[settings.preset]
    members: dict[str, list[str]] = {rule.name: [] for rule in rules}
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
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


def build_optimizer(
    groups: Sequence[dict[str, Any]], settings: OptimConfig, *, fused: bool = False
) -> torch.optim.AdamW:
    """AdamW over the groups; `fused` is for CUDA: one kernel, 28 bytes a parameter (perf.md 3)."""
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)


def poly(
    total: int, steps_per_epoch: float, *, power: float = 0.9, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> Schedule:
    """Polynomial decay to 0, times a linear warm-up if there is one (refer: 0.9, none; segmentation: 1, 1500)."""

    def factor(step: int) -> float:
        decay = max(0.0, 1.0 - step / total) ** power
        if step >= warmup_steps:
            return decay
        return decay * (1.0 - (1.0 - step / warmup_steps) * (1.0 - warmup_ratio))

    return factor


def two_phase(total: int, steps_per_epoch: float, *, floor: float = 0.06, power: float = 0.9) -> Schedule:
    """Up from `floor` to 1 over half of the whole epochs, down over as many, then flat: an odd epoch stays at `floor`.

    Raises:
        ConfigError: the run is shorter than two epochs.
    """
    half_epochs = round(total / steps_per_epoch) // 2
    if half_epochs < 1:
        raise ConfigError(f"optim.schedule two_phase needs two epochs, the run has {total / steps_per_epoch:.2f}.")

    def factor(step: int) -> float:
        phase = (step + 1) / (steps_per_epoch * half_epochs)  # the published counter starts at 1
        if phase < 1.0:
            return floor + (1.0 - floor) * phase**power
        return max(floor, 1.0 - (1.0 - floor) * (phase - 1.0) ** power)

    return factor


def rise_fall(
    total: int,
    steps_per_epoch: float,
    *,
    rise: float = 0.48,
    fall: float = 0.48,
    floor: float = 0.03,
    power: float = 0.9,
) -> Schedule:
    """A straight line from `floor` to 1, a polynomial back, then flat; `rise` and `fall` are shares of the run.

    mmseg's depth schedule: 12k, 12k and 1k of 25k steps (vpd_spec.md 8.4). Its fall is the polynomial of the steps that
    are left, where `two_phase` falls as it rose.

    Raises:
        ConfigError: the shares are not positive, or more than the run.
    """
    if not (rise > 0 and fall > 0 and rise + fall <= 1):
        raise ConfigError(
            f"optim.schedule rise_fall: rise {rise} and fall {fall}; expected positive shares of the run."
        )

    def factor(step: int) -> float:
        place = step / total
        if place < rise:
            return floor + (1.0 - floor) * place / rise
        return floor + (1.0 - floor) * max(0.0, 1.0 - (place - rise) / fall) ** power

    return factor


SCHEDULES = {"poly": poly, "two_phase": two_phase, "rise_fall": rise_fall}


def build_schedule(settings: Mapping[str, Any], *, total: int, steps_per_epoch: float) -> Schedule:
    """The curve of `{"name": ..., **options}` over a run of `total` steps.

    Raises:
        ConfigError: unknown name or option.
    """
    options = dict(settings)
    name = options.pop("name", None)
    if name not in SCHEDULES:
        raise ConfigError(f"optim.schedule.name {name!r} is unknown; choose one of {', '.join(sorted(SCHEDULES))}.")
    parameters = inspect.signature(SCHEDULES[name]).parameters.values()
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(f"optim.schedule {name}: nothing reads {', '.join(unknown)}; options: {', '.join(known)}.")
    return SCHEDULES[name](total, steps_per_epoch, **options)
