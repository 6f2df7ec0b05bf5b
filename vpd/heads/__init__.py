"""Heads: from the levels of a `FeatureSpec` to a dense prediction. A head knows the spec, never the backbone.

Owns what a head promises. A head is one module of this package that exposes `build(spec, **options) -> Head`; which one
a task takes by default is the task's. Operations that several share are in `vpd.heads.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

Prediction = torch.Tensor | Sequence[torch.Tensor]


class Head(Protocol):
    """What `vpd.model.perception.Perception` calls. Implementations are `nn.Module`s."""

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


def main_output(prediction: Prediction) -> torch.Tensor:
    """A head's own output, for a loss that reads no auxiliary ones."""
    return prediction if isinstance(prediction, torch.Tensor) else prediction[0]
