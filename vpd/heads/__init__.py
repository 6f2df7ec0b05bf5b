"""Heads: from the levels of a `FeatureSpec` to a dense prediction. A head knows the spec, never the backbone.

Owns what a head promises, how one is found by name, and the one operation that several share. A head is one module of
this package that exposes `build(spec, **options) -> Head`; which one a task takes by default is the task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from vpd import plugin
from vpd.backbones import FeatureSpec

Prediction = torch.Tensor | Sequence[torch.Tensor]


class Head(Protocol):
    """What `vpd.model.Perception` calls. Implementations are `nn.Module`s."""

    def __call__(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int] | None, context: torch.Tensor
    ) -> Prediction:
        """Predict.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the prediction; None: as the head makes it.
            context: `[B or 1, T, D]`, what the backbone attended to in its last pass.

        Returns:
            `[B, channels, H, W]` float32. In training, a head with auxiliary outputs returns them after the main one.
        """
        ...


def build_head(name: str, spec: FeatureSpec, **options: Any) -> nn.Module:
    """The head that the module `name` of this package builds.

    Raises:
        ConfigError: no such head, an option it does not take, or one that does not fit the backbone.
    """
    return plugin.call(plugin.find(__name__, name).build, f"head {name}", spec, **options)


def main_output(prediction: Prediction) -> torch.Tensor:
    """A head's own output, for a loss that reads no auxiliary ones."""
    return prediction if isinstance(prediction, torch.Tensor) else prediction[0]


def rearranged(features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Features as their likeness to each token of the context (Meta Prompts, vpd_spec.md 10.1).

    Args:
        features: `[B, D, h, w]`.
        context: `[B or 1, T, D]`.

    Returns:
        `[B, T, h, w]`: the product of every pixel with every token.
    """
    return torch.einsum("bdhw,btd->bthw", features, context.expand(len(features), -1, -1).to(features.dtype))
