"""Semantic segmentation: the class of every pixel (ADE20K, or one's own pictures, labels and class list).

Owns what a training sample and an evaluated picture are: labels cut by the drawn view; one text token for every class,
so that a context is the whole class table (docs/methods/vpd.md#ade20k-prompts), unless the model has learned prompts;
windows put together into one prediction a picture (docs/methods/segmentation.md#evaluation-windows), and that compared
at the picture's own size (docs/methods/segmentation.md#scores). Losses are `vpd.tasks.seg.loss`'s; labels are read in
`vpd.tasks.seg.labels`, windows put together in `vpd.tasks.stripes`, pixels counted in `vpd.tasks.seg.metric`, and
coloured in `vpd.tasks.seg.draw`.

What a record holds: `label`, a grey PNG of the picture's size with class indices and the ignore value; meta["views"].

The model answers at 1/8 or 1/4 of a view, as the head gives it, and is enlarged where it is needed: 150 classes at full
size are 64 or 16 times as many bytes. What is counted, drawn or written is the class of every pixel, so a picture is
put together a stripe of rows at a time, whatever its size. Only `picture` and `predictions`, which hand out the numbers
of all classes, hold one array [C, H, W].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from shards.errors import ConfigError, ContractError, did_you_mean
from shards.geometry.view import Size, View, drawn_view, recorded_views
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction
from vpd.tasks import Task
from vpd.tasks.seg.draw import palette, write_label_png
from vpd.tasks.seg.labels import LABEL, SHOWN, shown_classes, shown_label, stored_label
from vpd.tasks.seg.loss import SegLoss
from vpd.tasks.seg.metric import Confusion, class_table
from vpd.tasks.stitch import Blend, blend_of, grouped
from vpd.tasks.stripes import STRIPE_BYTES, StripedGrid, stripes

if TYPE_CHECKING:
    from shards.contract.schema import Schema
    from shards.reading.batch import Sample
    from shards.reading.labelling import Room
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch

NAMED, LISTED = 5, 40  # classes in a legend's title, and in its entries
MERGES = ("probability", "logit")


def build(
    classes: int = 150,
    ignore_index: int = 255,
    average: str = "all",
    dropout: float = 0.1,
    merge: str = "probability",
    lovasz: float = 0.0,
    auxiliary: float = 0.4,
) -> SegTask:
    """The task.

    Args:
        classes: number of classes: rows of the class table, and of the labels' indices.
        ignore_index: label value that neither trains nor counts.
        average: the loss is the sum over labelled pixels, divided by the number of `all` pixels (published: mmseg's
            default) or of the `valid` ones (mmseg's `avg_non_ignore`).
        dropout: of the head.
        merge: scales and flips are averaged as `probability` (published), or as `logit`; with one scale and no flip,
            that is mmseg 1's order, which takes the largest logit without a softmax.
        lovasz: weight of the Lovász-softmax loss; published: 0 for VPD, 1 for Meta Prompts.
        auxiliary: weight of the cross entropy of auxiliary logits, if the head has them.

    Raises:
        ConfigError: a value that is not one of these.
    """
    if not 1 <= classes <= 255 or 0 <= ignore_index < classes:
        raise ConfigError(
            f"task seg: classes {classes}, ignore_index {ignore_index}; expected 1 to 255 classes, and an ignore value "
            "that is none of them."
        )
    if merge not in MERGES:
        raise ConfigError(
            f"task seg: merge {merge!r} is unknown; choose one of {', '.join(MERGES)}.{did_you_mean(merge, MERGES)}"
        )
    loss = SegLoss(ignore_index, average, lovasz, auxiliary)
    return SegTask(classes, loss, dropout=dropout, merge=merge)


class SegTask(Task):
    """See the module; `build` makes one."""

    name = "seg"
    head = "fpn"
    uses_classes = True
    label_fields = (LABEL,)
    metric_name = "mIoU"  # chooses the best checkpoint, as published
    export_suffixes = (".npy",)

    def __init__(self, classes: int, loss: SegLoss, *, dropout: float, merge: str) -> None:
        self.classes = classes
        self.ignore_index = loss.ignore_index
        self.pixel_loss = loss
        self.dropout = dropout
        self.merge = merge

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """Sliding windows at one scale, as evaluated: of ADE20K 512 pixels at a stride of 341."""
        side = min(size_px)
        return {"name": "segmentation_tiles", "crop": side, "stride": side * 2 // 3, "base": [4 * side, side]}

    def tokens(self, schema: Schema) -> int:
        """One for every class, where the context is text."""
        return self.classes

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """The number of classes.

        Raises:
            ConfigError: the class table has another number of rows than the task has classes.
        """
        if rows not in (None, self.classes):
            raise ConfigError(
                f"the class table has {rows} rows, the task {self.classes} classes. Set task.classes={rows}, or "
                "build the table from the class list of the training set."
            )
        return {"classes": self.classes}

    def head_defaults(self) -> dict[str, Any]:
        return {"dropout": self.dropout}

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        """`label` uint8 `[h, w]` of the drawn view, padding ignored; with Lovász' loss the classes in it, bool `[C]`.

        Raises:
            SchemaMismatch: the record has no such view, or a class the task does not know.
        """
        label = shown_label(sample, drawn_view(sample), self.classes, self.ignore_index)
        return {LABEL: label, **({SHOWN: shown_classes(label, self.classes)} if self.pixel_loss.lovasz else {})}

    def batch_labels(self, samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        """As `labels`, each cut where it lies in the batch."""
        views = [drawn_view(sample) for sample in samples]
        found = room.array(LABEL, views[0].label_px, np.uint8)  # [b, h, w]
        for sample, view, out in zip(samples, views, found, strict=True):
            shown_label(sample, view, self.classes, self.ignore_index, out)
        if not self.pixel_loss.lovasz:
            return {LABEL: found}
        classes = room.array(SHOWN, (self.classes,), bool)  # [b, C]
        for label, out in zip(found, classes, strict=True):
            shown_classes(label, self.classes, out)
        return {LABEL: found, SHOWN: classes}

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """Loss of logits `[B, C, h, w]`, and of auxiliary ones after them, against the label `[B, H, W]`."""
        flags = batch.on_host.get(SHOWN)  # [B, C]
        shown = None if flags is None else np.flatnonzero(flags.any(axis=0)).tolist()
        return self.pixel_loss(logits, batch.labels[LABEL].long(), shown)

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor | None:
        """The pixels that the cross entropy divides by; Lovász' loss orders the errors of all pixels: no mean."""
        return self.pixel_loss.weight(batch.labels[LABEL])

    def new_metric(self) -> Confusion:
        """An empty confusion matrix."""
        return Confusion(self.classes, self.ignore_index)

    def picture(self, record: StoredRecord, outputs: torch.Tensor) -> tuple[torch.Tensor, tuple[slice, slice]]:
        """One prediction from those of a record's views.

        Args:
            outputs: logits `[V, C, h, w]`, in the order of `samples`.

        Returns:
            Probabilities (or mean logits, as `merge` says) `[C, H, W]` for the part of the picture that the views show,
            and that part as (rows, columns).

        Raises:
            ContractError: the views leave pixels out, or show different parts.
        """
        views = self._one_box(record)
        x0, y0, x1, y1 = views[0].box_px
        return self.assembled(outputs, views, blend_of(record)), (slice(y0, y1), slice(x0, x1))

    def assembled(self, outputs: torch.Tensor, views: Sequence[View], blend: Blend = "mean") -> torch.Tensor:
        """`picture` for views of one box that belong to no record: `[C, H, W]` at the box's size."""
        whole: torch.Tensor | None = None
        for rows, part, (height, width) in self._stripes(outputs, views, blend):
            if whole is None:
                whole = torch.empty(self.classes, height, width, device=outputs.device)
            whole[:, rows] = part
        assert whole is not None, "a box has rows"
        return whole

    def class_map(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """The class of every pixel that the views show, uint8 `[H, W]`: the largest of what `picture` holds, without
        holding it."""
        views = self._one_box(record)
        found: torch.Tensor | None = None
        for rows, part, size_px in self._stripes(outputs, views, blend_of(record)):
            if found is None:
                found = torch.empty(size_px, dtype=torch.uint8, device=outputs.device)
            found[rows] = part.argmax(dim=0).to(torch.uint8)
        assert found is not None, "a box has rows"
        return found

    def _stripes(
        self, outputs: torch.Tensor, views: Sequence[View], blend: Blend
    ) -> Iterator[tuple[slice, torch.Tensor, Size]]:
        """Rows of the views' box, what `picture` holds there, `[C, rows, W]`, and the box's size."""
        if not views:
            raise ContractError("a prediction is put together from at least one view, found none.")
        members = [(outputs[chosen], [views[index] for index in chosen]) for chosen in grouped(views).values()]
        grids = [StripedGrid(windows, places, blend) for windows, places in members]
        size_px = grids[0].size_px
        for rows in stripes(*size_px, outputs.shape[1]):
            total: torch.Tensor | None = None
            for grid in grids:
                part = grid.rows(rows)
                part = part.softmax(dim=0) if self.merge == "probability" else part
                total = part if total is None else total.add_(part)
            assert total is not None
            yield rows, total.div_(len(grids)), size_px

    def _one_box(self, record: StoredRecord) -> list[View]:
        views = recorded_views(record)
        boxes = sorted({view.box_px for view in views})
        if len(boxes) != 1:
            raise ContractError(
                f"record {record.key}: its views show the parts {boxes} of the picture; evaluation needs tiles of one "
                "part. Build the set with views segmentation_tiles."
            )
        return views

    def targets(self, record: StoredRecord) -> np.ndarray:
        """The label of what the views show, uint8 `[H, W]`."""
        x0, y0, x1, y1 = recorded_views(record)[0].box_px
        return stored_label(record, self.classes, self.ignore_index)[y0:y1, x0:x1]

    def score(
        self, metric: Confusion, record: StoredRecord, outputs: torch.Tensor, targets: np.ndarray | None = None
    ) -> None:
        """Count a record's picture, at its own size, from the logits `[V, C, h, w]` of its views."""
        label = self.targets(record) if targets is None else targets
        metric.update(self.class_map(record, outputs), torch.from_numpy(np.ascontiguousarray(label)))

    def report(self, metric: Confusion, names: Sequence[str]) -> str:
        """A line per class: its name, IoU and accuracy."""
        return class_table(metric.per_class(names))

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """The one prediction of a picture, as `picture` gives it, `[1, C, H, W]`."""
        return self.picture(record, outputs)[0][None]

    def answers(self, record: StoredRecord, outputs: torch.Tensor) -> Iterator[np.ndarray]:
        """The class of every pixel, uint8 `[H, W]`."""
        yield self.class_map(record, outputs).cpu().numpy()

    def working_bytes(
        self, size_px: tuple[int, int], view_px: tuple[int, int], views: int, sentences: int, *, whole: bool
    ) -> int:
        """A few stripes, the low logits of all views, and as a whole every class of every pixel."""
        height, width = size_px
        low = 4 * self.classes * views * (view_px[0] // 4) * (view_px[1] // 4)
        pixels = height * width * (4 * self.classes if whole else 1)
        return pixels + 5 * min(STRIPE_BYTES, 4 * self.classes * height * width) + 2 * low + 12 * height * width

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """The picture in grey, uint8 `[H, W, 3]`, mixed half and half with the colours of the predicted classes: every
        hue is that of a class."""
        grey = np.asarray(Image.fromarray(image).convert("L"))[..., None]
        return grey // 2 + palette(self.classes)[classes_of(answer)] // 2

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """The classes of the picture, those of most pixels first, with their share of it."""
        counts = np.bincount(classes_of(answer).ravel(), minlength=self.classes)
        order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
        names = [style.names[k] if k < len(style.names) else f"class {k}" for k in order]
        shares = [f"{name} {counts[k] / counts.sum():.1%}" for k, name in zip(order, names, strict=True)]
        more = f", and {len(shares) - NAMED} more" if len(shares) > NAMED else ""
        mixed = palette(self.classes).astype(int) // 2 + 64  # as on a middle grey
        colours = [(int(r), int(g), int(b)) for r, g, b in mixed[order]]
        return Legend(", ".join(shares[:NAMED]) + more, tuple(zip(colours, names, strict=True))[:LISTED])

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write the predicted classes as a palette PNG whose values are the class indices, or as `.npy`."""
        if Path(path).suffix.lower() == ".npy":
            np.save(path, classes_of(answer).astype(np.uint8))
        else:
            write_label_png(classes_of(answer), self.classes, path)


def classes_of(answer: np.ndarray) -> np.ndarray:
    """Class indices `[H, W]`, of these or of the numbers of all classes `[C, H, W]`."""
    return answer if answer.ndim == 2 else answer.argmax(axis=0)
