"""Confusion matrix of a segmentation, as sums that add up, and the scores read from it.

Owns counting and the published definitions (docs/methods/segmentation.md#scores): intersections and unions are summed
over the whole data set; mIoU and mAcc are means over the classes that occur (IoU: in labels or predictions; accuracy:
in labels), aAcc is the share of right pixels. Pixels with the ignore value count nowhere. At which size masks are
compared is the task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shards.errors import SchemaMismatch
from vpd.tasks.metric import added, handed_over


@dataclass(frozen=True)
class ClassScore:
    """One class over the data set; iou and accuracy are nan where they are not defined."""

    name: str
    iou: float
    accuracy: float
    label_pixels: int
    predicted_pixels: int


class Confusion:
    """Pixel counts by (label, prediction).

    The state is float64 `[1 + C * C]`: pictures counted, then the matrix row by row, a row for each label class. Counts
    up to 2^53 are exact.

    Args:
        classes: C.
        ignore: label value that is not counted.
        state: float64 `[1 + C * C]` to count in, instead of new sums.
    """

    counts_on_device = True

    def __init__(self, classes: int, ignore: int = 255, state: torch.Tensor | None = None) -> None:
        self.classes, self.ignore = classes, ignore
        self.state = torch.zeros(1 + classes * classes, dtype=torch.float64) if state is None else state

    @property
    def count(self) -> int:
        """Pictures so far."""
        return int(self.state[0].item())

    @property
    def matrix(self) -> torch.Tensor:
        """`[C, C]` pixels: label down, prediction across. A view of the state."""
        return self.state[1:].view(self.classes, self.classes)

    def update(self, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Count one picture: class indices `[H, W]`, integers, both of one size; the label on the CPU, where it is
        checked, or with the prediction.

        Raises:
            SchemaMismatch: sizes differ, or an index that is neither a class nor the ignore value.
        """
        if prediction.shape != label.shape:
            raise SchemaMismatch(f"a prediction of {list(prediction.shape)} for a label of {list(label.shape)} pixels.")
        strange = label.numpy(force=True)
        strange = strange[(strange >= self.classes) & (strange != self.ignore)]
        if strange.size:
            raise SchemaMismatch(
                f"a label holds class {strange.max()}; the task has the classes 0 to {self.classes - 1} and ignores "
                f"{self.ignore}. Train and evaluate on sets with the same classes."
            )
        if label.device != prediction.device:
            label = handed_over(label, prediction.device)
        self.state[1:] += pair_counts(prediction, label, self.classes, self.ignore).to(self.state)
        self.state[0] += 1

    def joined(self, states: Sequence[torch.Tensor]) -> Confusion:
        """The same scores over the sum of several states."""
        return Confusion(self.classes, self.ignore, added(states))

    def compute(self) -> dict[str, float]:
        """mIoU, aAcc and mAcc in 0..1; all nan before the first labelled pixel."""
        iou, accuracy = self._per_class()
        right = self.matrix.diagonal().sum() / self.matrix.sum()
        return {"mIoU": iou.nanmean().item(), "aAcc": right.item(), "mAcc": accuracy.nanmean().item()}

    def per_class(self, names: Sequence[str] = ()) -> list[ClassScore]:
        """Every class in order; `names` as of the set's class table, else `class 0`, ..."""
        names = names or [f"class {number}" for number in range(self.classes)]
        iou, accuracy = self._per_class()
        labels, predictions = self.matrix.sum(1), self.matrix.sum(0)
        columns = (iou.tolist(), accuracy.tolist(), labels.long().tolist(), predictions.long().tolist())
        return [ClassScore(*row) for row in zip(names, *columns, strict=True)]

    def _per_class(self) -> tuple[torch.Tensor, torch.Tensor]:
        """IoU and accuracy, float64 `[C]` each; 0 / 0 is nan."""
        right, labels, predictions = self.matrix.diagonal(), self.matrix.sum(1), self.matrix.sum(0)
        return right / (labels + predictions - right), right / labels


def pair_counts(prediction: torch.Tensor, label: torch.Tensor, classes: int, ignore: int) -> torch.Tensor:
    """Pixels of every pair of label and prediction, int64 `[C * C]`; nothing waits for the device, and sums of integers
    are the same in any order."""
    pairs = torch.where(label == ignore, classes**2, label.long() * classes + prediction.long()).flatten()  # [H * W]
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=pairs.device)  # the last: ignored
    return counts.scatter_add_(0, pairs, torch.ones_like(pairs))[:-1]


def class_table(scores: Sequence[ClassScore]) -> str:
    """The scores of every class as lines of text, `-` where one is not defined."""
    width = max((len(score.name) for score in scores), default=5)
    lines = [f"{'class':<{width}}{'IoU':>8}{'acc':>8}{'label px':>14}{'predicted px':>14}"]
    for score in scores:
        cells = "".join(f"{'-' if value != value else f'{value:.4f}':>8}" for value in (score.iou, score.accuracy))
        lines.append(f"{score.name:<{width}}{cells}{score.label_pixels:>14,}{score.predicted_pixels:>14,}")
    return "\n".join(lines)
