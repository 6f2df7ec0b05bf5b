"""Depth of every pixel in metres (NYUv2, KITTI, or one's own data in the same form).

Owns what a training sample and an evaluated picture are: labels cut by the drawn view, one text token with the class of
the scene (docs/methods/depth.md#room-classes), SiLog over the measured pixels of the batch or of each image
(docs/methods/depth.md#loss), and tiles with their flipped copies averaged into one prediction a picture, scored at the
picture's own size (docs/methods/depth.md#evaluation). What of a view is predicted, `vpd.tasks.depth.view_fit` says; the
arithmetic of labels, loss, pictures and scores lives in `labels`, `loss`, `picture` and `metric` beside it.

What a record holds: `depth`, full size, 0 = no measurement, with its unit in the schema; meta["class_id"], -1 for a
scene without a class; meta["views"].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shards.contract.lengths import per_metre
from shards.errors import ConfigError, did_you_mean
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction, main_output
from vpd.tasks import Task
from vpd.tasks.depth.built_range import range_notices
from vpd.tasks.depth.draw import drawn, legend_of, write_depth
from vpd.tasks.depth.labels import PNG_PER_M, class_id_of, fill_metres, metres, stored_depth
from vpd.tasks.depth.loss import silog
from vpd.tasks.depth.metric import CROPS, DepthMetric
from vpd.tasks.depth.picture import whole_picture
from vpd.tasks.depth.view_fit import VIEW_FITS, ViewFit
from vpd.tasks.stitch import blend_of

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.reading.batch import Sample
    from shards.reading.labelling import Room
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch

LOSSES = ("pooled", "per_image")
UNCOVERED = ("error", "min_depth")
PNG_MAX, KITTI_PER_M = 65535, 256.0  # of 16 bits


def build(
    max_depth_m: float = 10.0,
    min_depth_m: float = 1e-3,
    crop: str = "nyu",
    loss: str = "pooled",
    focus: float = 0.5,
    view_fit: str = "padded",
    crop_padding: bool = True,
    uncovered: str = "error",
    png_per_m: float = 0.0,
) -> DepthTask:
    """The task.

    Args:
        max_depth_m: end of the range that is predicted, and exclusive upper limit of the depths that evaluation counts.
        min_depth_m: exclusive lower limit of those.
        crop: part of a picture that evaluation counts: `nyu`, `garg` or `eigen` (both of KITTI), or `none`.
        loss: SiLog over the pixels of the batch (`pooled`, VPD), or of each image and averaged (`per_image`, mmseg).
        focus: lambda of SiLog.
        view_fit: how the views of the sets were made to fit the encoder: `padded` (VPD), or `enlarged` (Meta Prompts),
            with predictions and labels of the size before.
        crop_padding: predict only the part of a view that shows picture, as published; all views of a set then need
            the same padding. False predicts the padding too, where nothing is scored, so that views may differ in it.
        uncovered: pixels that no tile covers are an `error`, or count as predicted at `min_depth` (published KITTI
            windows leave 9 columns).
        png_per_m: units of a metre in exported PNGs; 0: 1000, NYUv2's millimetres, or 256, KITTI's unit, where 16 bits
            of millimetres end before `max_depth_m`.

    Raises:
        ConfigError: a value that is not one of these.
    """
    if not 0 < min_depth_m < max_depth_m:
        raise ConfigError(f"task depth: min_depth_m {min_depth_m}, max_depth_m {max_depth_m}; expected 0 < min < max.")
    if not 0 <= focus <= 1:
        raise ConfigError(f"task depth: focus, the lambda of SiLog, is {focus}; expected 0 to 1.")
    for name, value, choices in (
        ("crop", crop, CROPS),
        ("loss", loss, LOSSES),
        ("view_fit", view_fit, VIEW_FITS),
        ("uncovered", uncovered, UNCOVERED),
    ):
        if value not in choices:
            raise ConfigError(
                f"task depth: {name} {value!r} is unknown; choose one of {', '.join(choices)}."
                f"{did_you_mean(value, choices)}"
            )
    return DepthTask(
        min_depth_m,
        max_depth_m,
        crop=crop,
        per_image=loss == "per_image",
        focus=focus,
        fit=ViewFit.named(view_fit, crop_padding),
        fill=float("nan") if uncovered == "min_depth" else None,  # every NaN counts as the lower limit
        png_per_m=png_per_m or (PNG_PER_M if max_depth_m * PNG_PER_M <= PNG_MAX else KITTI_PER_M),
    )


class DepthTask(Task):
    """See the module; `build` makes one."""

    name = "depth"
    head = "depth_decoder"
    uses_classes = True
    label_fields = ("depth",)
    metric_name = "rmse"  # chooses the best checkpoint, as published
    higher_is_better = False
    export_suffixes = (".npy", ".tif", ".tiff", ".ply")

    def __init__(
        self,
        min_depth_m: float,
        max_depth_m: float,
        *,
        crop: str,
        per_image: bool,
        focus: float,
        fit: ViewFit,
        fill: float | None,
        png_per_m: float,
    ) -> None:
        self.min_depth_m = min_depth_m
        self.max_depth_m = max_depth_m
        self.crop = crop
        self.per_image = per_image
        self.focus = focus
        self.fit = fit
        self.fill = fill
        self.png_per_m = png_per_m

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """Windows and their flips, as evaluated on NYUv2, where 512 pixels show 480. They overlap by a third at least:
        where two windows only touch, nothing can hide that they were predicted apart."""
        side = min(size_px)
        shown = side * 15 // 16
        fit = "enlarge" if self.fit.enlarged else "size"
        return {"name": "depth_tiles", "short_side": shown, "stride": max(shown * 2 // 3, 1), fit: side}

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """The maximum depth, and the views' way to fit the encoder."""
        return {"max_depth_m": self.max_depth_m, "enlarged": self.fit.enlarged}

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        """Labels of the drawn view: `depth` float32 `[h, w]` in metres, 0 where unknown, and `class_id` int64.

        The depth covers what is predicted: the view without its padding, or with it as `crop_padding` says.

        Raises:
            SchemaMismatch: the record has no such view, no class id, or no depth in a known unit.
        """
        view = self.fit.drawn(sample)
        depth = np.empty(self.fit.predicted_px(view), np.float32)  # [h, w]
        fill_metres(depth, sample, view)
        return {"depth": depth, "class_id": class_id_of(sample)}

    def batch_labels(self, samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        """As `labels`, each made where it lies in the batch."""
        views = [self.fit.drawn(sample) for sample in samples]
        depth = room.array("depth", self.fit.predicted_px(views[0]), np.float32)  # [b, h, w]
        class_id = room.array("class_id", (), np.int64)  # [b]
        for place, (sample, view) in enumerate(zip(samples, views, strict=True)):
            self.fit.check_alike(view, depth.shape[1:], sample.key)
            fill_metres(depth[place], sample, view)
            class_id[place] = class_id_of(sample)
        return {"depth": depth, "class_id": class_id}

    def notices(self, manifest: Manifest) -> Sequence[str]:
        """Where the set was built with another greatest depth than the head can predict."""
        return range_notices(manifest, self.max_depth_m)

    def context(self, batch: DeviceBatch) -> torch.Tensor:
        """The scenes' classes, int64 `[B]`: rows of the model's class table."""
        return batch.labels["class_id"]

    def out_size_px(self, batch: DeviceBatch) -> tuple[int, int]:
        """Size of the label, or in evaluation what the records say: of the views' content; without `crop_padding`, of
        the views.

        Raises:
            ConfigError: views with more and with less padding in one batch.
        """
        if "depth" in batch.labels:
            height, width = batch.labels["depth"].shape[-2:]
            return height, width
        return self.fit.one_size(batch.labels["out_px"].tolist())

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """SiLog of predicted metres `[B, 1, h, w]` against the label `depth` `[B, h, w]`."""
        return silog(main_output(logits)[:, 0], batch.labels["depth"], self.focus, per_image=self.per_image)

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor | None:
        """The pictures with a measured pixel if the loss is theirs, one by one; one root over all pixels is no mean."""
        if not self.per_image:
            return None
        return (batch.labels["depth"] > 0).flatten(1).any(dim=1).sum().float()

    def new_metric(self) -> DepthMetric:
        """Empty sums of the nine scores."""
        return DepthMetric(self.min_depth_m, self.max_depth_m, self.crop)

    def samples(self, record: StoredRecord, *text_fields: str) -> dict[str, np.ndarray]:
        """One sample per view: `latent` float16 `[V, C, h, w]`, `class_id` int64 `[V]`, and `out_px` int64 `[V, 2]`,
        the (h, w) that is predicted of each view: without its padding, or with it as `crop_padding` says.
        """
        views = self.fit.recorded(record)
        return {
            "latent": record.array("latent"),
            "class_id": np.repeat(class_id_of(record), len(views)),
            "out_px": np.array([self.fit.predicted_px(view) for view in views], np.int64),
        }

    def picture(self, record: StoredRecord, outputs: torch.Tensor) -> tuple[torch.Tensor, tuple[slice, slice]]:
        """One prediction of a record's picture, from those of its views in the order of `samples`; the rest as of
        `whole_picture`."""
        return whole_picture(outputs, self.fit.recorded(record), self.fill, blend_of(record), record.key)

    def targets(self, record: StoredRecord) -> np.ndarray:
        """The measured depth of the whole picture, float32 `[H, W]` in metres."""
        field = record.shards.schema.field("depth")
        return metres(stored_depth(record, field), per_metre(field))

    def score(
        self, metric: DepthMetric, record: StoredRecord, outputs: torch.Tensor, targets: np.ndarray | None = None
    ) -> None:
        """Count a record's picture from the predictions `[V, 1, h, w]` of its views. The crop is one of the part of the
        picture that the views show, as published for KITTI, whose pictures are cut to 352 x 1216 first.
        """
        prediction, part = self.picture(record, outputs)
        target = (self.targets(record) if targets is None else targets)[part]  # [H, W]
        metric.update(prediction[0], torch.from_numpy(target))

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """The one prediction of a picture, as `picture` gives it, `[1, C, H, W]`."""
        return self.picture(record, outputs)[0][None]

    def working_bytes(
        self, size_px: tuple[int, int], view_px: tuple[int, int], views: int, sentences: int, *, whole: bool
    ) -> int:
        """The windows, and a few maps of the picture for its views as they are and flipped."""
        return 4 * (6 * size_px[0] * size_px[1] + 3 * views * view_px[0] * view_px[1])

    def steady(self, image: np.ndarray, answer: np.ndarray, style: Style) -> Style:
        """The colours of a video span the task's range, unless a range is chosen."""
        return style if style.far_m else replace(style, near_m=self.min_depth_m, far_m=self.max_depth_m)

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """Depth `[1, H, W]` in colours, uint8 `[H, W, 3]`, black where there is none; `image` is not needed for it."""
        return drawn(answer[0], style)

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """The median, and the scale of the colours, from near to far."""
        return legend_of(answer[0], style)

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write depth `[1, H, W]` in metres: as a 16-bit PNG of `png_per_m` units a metre, as float32 metres in `.npy`
        or `.tif`, or as a point cloud in `.ply`, with the colours of `image`."""
        write_depth(answer[0], path, image, style, self.png_per_m)
