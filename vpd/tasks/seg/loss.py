"""Losses of semantic segmentation: cross entropy, Lovász-softmax beside it, and that of a head's auxiliary outputs.

Owns their weights, what a pixel sum is divided by, and that logits are enlarged to the label before they are compared,
all as mmsegmentation does it (docs/methods/segmentation.md#cross-entropy,
docs/methods/meta_prompts.md#segmentation-losses). The Lovász loss itself is `vpd.tasks.seg.lovasz`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shards.errors import ConfigError, did_you_mean
from vpd.heads import Prediction
from vpd.heads.ops.resize import resize
from vpd.tasks.seg.enlarged_entropy import enlarged_entropy
from vpd.tasks.seg.lovasz import lovasz_softmax

AVERAGES = ("all", "valid")


@dataclass(frozen=True)
class SegLoss:
    """Settings of the loss; called with logits and label.

    Attributes:
        ignore_index: label value that does not train.
        average: cross entropy is summed over labelled pixels and divided by the number of `all` pixels or of the
            `valid`, labelled ones.
        lovasz: weight of the Lovász-softmax loss of the main logits; 0 = none.
        auxiliary: weight of the cross entropy of every auxiliary output.
    """

    ignore_index: int = 255
    average: str = "all"
    lovasz: float = 0.0
    auxiliary: float = 0.4

    def __post_init__(self) -> None:
        if self.average not in AVERAGES:
            raise ConfigError(
                f"task seg: average {self.average!r} is unknown; choose one of {', '.join(AVERAGES)}."
                f"{did_you_mean(self.average, AVERAGES)}"
            )
        if self.lovasz < 0 or self.auxiliary < 0:
            raise ConfigError(
                f"task seg: lovasz is {self.lovasz} and auxiliary {self.auxiliary}; both are weights, from 0."
            )

    def __call__(self, logits: Prediction, label: torch.Tensor, shown: Sequence[int] | None = None) -> torch.Tensor:
        """Scalar loss.

        Args:
            logits: `[B, C, h, w]`, or a list of the main ones and auxiliary ones, of any sizes.
            label: int64 `[B, H, W]`.
            shown: its classes, if the host knows them: else Lovász' loss waits for the device to say them.
        """
        main, *others = [logits] if isinstance(logits, torch.Tensor) else logits
        main = main.float()
        if self.lovasz:  # orders the errors of all pixels
            main = resize(main, label.shape[-2:]).contiguous()
        loss = self._cross_entropy(main, label)
        if self.lovasz:
            loss = loss + self.lovasz * lovasz_softmax(main, label, self.ignore_index, shown)
        for other in others:  # with a weight of 0, too: every parameter gets a gradient, which DDP waits for
            loss = loss + self.auxiliary * self._cross_entropy(other.float(), label)
        return loss

    def weight(self, label: torch.Tensor) -> torch.Tensor | None:
        """What a label `[B, H, W]` counts among several whose losses are averaged; None with Lovász' loss."""
        if self.lovasz:
            return None
        if self.average == "all":
            return torch.full((), float(label.numel()), device=label.device)
        return (label != self.ignore_index).sum().float()

    def _cross_entropy(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        total = enlarged_entropy(logits, label, self.ignore_index)
        if self.average == "all":
            return total / label.numel()
        return total / (label != self.ignore_index).sum().clamp(min=1)
