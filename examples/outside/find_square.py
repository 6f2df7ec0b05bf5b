"""A task: which pixels does a sentence mean? Enough to train; scores and pictures are further methods of a task."""

import numpy as np
import torch
import torch.nn.functional as F

from shards.contract.schema import Schema
from shards.geometry.view import View, cut_label
from shards.reading.batch import Sample
from vpd.heads import Prediction, main_output
from vpd.model.device_batch import DeviceBatch
from vpd.tasks import Learned


class FindSquare(Learned):
    name, head, uses_text = "find_square", "outside.one_convolution", True

    def tokens(self, schema: Schema) -> int:
        return int(schema.field("tokens").shape[-1])

    def context(self, batch: DeviceBatch) -> torch.Tensor | None:
        return batch.text  # [B, T, D]

    def out_size_px(self, batch: DeviceBatch) -> tuple[int, int]:
        height, width = batch.labels["mask"].shape[-2:]
        return height, width

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        x0, y0, x1, y1 = sample.meta["boxes"][sample.item]
        mask = np.zeros((sample.meta["height"], sample.meta["width"]), np.uint8)
        mask[y0:y1, x0:x1] = 1
        return {"mask": cut_label(mask, View.from_json(sample.meta["views"][0]))}

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(main_output(logits)[:, 0].float(), batch.labels["mask"].float())


def build() -> FindSquare:
    return FindSquare()
