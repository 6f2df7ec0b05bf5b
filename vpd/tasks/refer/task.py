"""Referring segmentation: which pixels does a sentence mean (RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, one's own).

Owns the mask labels, the loss and the scores. Conventions: masks are squashed to the view with nearest neighbour
(docs/methods/refer.md#preprocessing); cross entropy with class weights 0.9 and 1.1, as a weighted mean
(docs/methods/refer.md#loss); every sentence of a ref is one sample, scored at the view's size
(docs/methods/refer.md#scores). Scores at the image's own size are kept beside the published ones, because a squashed
mask weighs wide and tall objects differently. A sentence without a target has an empty mask: it is learnt as all
background, and scored by `vpd.tasks.refer.no_target`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from shards.errors import ConfigError, SchemaMismatch, did_you_mean
from shards.geometry.runs import Runs, cut_masks
from shards.geometry.view import View
from vpd.drawing.contrast import tinted, visible_colour
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction, main_output
from vpd.tasks import Task
from vpd.tasks.pixel_entropy import pixel_entropy
from vpd.tasks.refer.metric import FEWEST_PX, ReferMetric, Target
from vpd.tasks.refer.no_target import NAMES as GENERAL
from vpd.tasks.refer.no_target import answers_nothing
from vpd.tasks.refer.overlap import NAMES as PUBLISHED

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.contract.schema import Schema
    from shards.reading.batch import Sample
    from shards.reading.labelling import Room
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch

CLASS_WEIGHTS = (0.9, 1.1)  # background, object


def build(
    class_weights: Sequence[float] = CLASS_WEIGHTS, no_target_px: int = FEWEST_PX, best_by: str = "oIoU"
) -> ReferTask:
    """The task.

    Args:
        class_weights: of background and object in the loss.
        no_target_px: a predicted mask of fewer pixels is the answer "no such object": in the scores of sets with
            several targets and none, and in what is predicted of a picture.
        best_by: the score that chooses the best checkpoint, such as oIoU, as published, or gIoU.

    Raises:
        ConfigError: not two positive numbers, a negative number of pixels, or an unknown score.
    """
    if len(class_weights) != 2 or min(class_weights) <= 0:
        raise ConfigError(f"task refer: class_weights is {list(class_weights)}, expected two positive numbers.")
    if no_target_px < 0:
        raise ConfigError(f"task refer: no_target_px is {no_target_px}, expected a number of pixels, or 0 for never.")
    if best_by not in (*PUBLISHED, *GENERAL):
        known = ", ".join((*PUBLISHED, *GENERAL))
        raise ConfigError(
            f"task refer: best_by is {best_by!r}.{did_you_mean(best_by, (*PUBLISHED, *GENERAL))} Scores: {known}."
        )
    return ReferTask((float(class_weights[0]), float(class_weights[1])), no_target_px, best_by)


class ReferTask(Task):
    """See the module; `build` makes one."""

    name = "refer"
    head = "refer_decoder"
    uses_text = True
    export_suffixes = (".npy",)
    row_draw = "random"  # published training draws one of a ref's sentences anew each time

    def __init__(self, class_weights: tuple[float, float], no_target_px: int, best_by: str) -> None:
        self.class_weights, self.no_target_px, self.metric_name = class_weights, no_target_px, best_by
        self._weights: dict[torch.device, torch.Tensor] = {}  # once per device: no copy in a step

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """The whole picture, at the size of the training views."""
        return {"name": "exact", "size": list(size_px)}

    def tokens(self, schema: Schema) -> int:
        """Length of the stored sentences: 40 for RefCOCO and RefCOCO+, 77 for RefCOCOg."""
        return int(schema.field("tokens").shape[-1])

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """Two classes, object or not."""
        return {"classes": 2}

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        """`mask` uint8 `[h, w]` of the sample's ref, in the record's first view.

        Raises:
            SchemaMismatch: the record's meta lacks the ref or the view.
        """
        return {"mask": cut_masks([_runs(sample)], [_view(sample)], name=lambda _: f"record {sample.key}")[0]}

    def batch_labels(self, samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        """As `labels`, all masks at once, where they lie in the batch."""
        views = [_view(sample) for sample in samples]
        mask = room.array("mask", views[0].label_px, np.uint8)  # [b, h, w]
        runs = [_runs(sample) for sample in samples]
        return {"mask": cut_masks(runs, views, mask, name=lambda place: f"record {samples[place].key}")}

    def context(self, batch: DeviceBatch) -> torch.Tensor:
        """The sentences' text states `[B, L, D]`."""
        if batch.text is None:
            raise SchemaMismatch("task refer needs sentences; this set stores neither `text` nor `tokens`.")
        return batch.text

    def out_size_px(self, batch: DeviceBatch) -> tuple[int, int]:
        """The size of the view, in which masks are compared: of the label, or in evaluation as the record says."""
        labels = batch.labels
        height, width = labels["mask"].shape[-2:] if "mask" in labels else labels["view_px"][0].tolist()
        return height, width

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """Weighted-mean cross entropy of `[B, 2, h, w]` against the label `mask` `[B, h, w]` in {0, 1}."""
        weights = self._weights_on(batch.latents.device)
        return pixel_entropy(main_output(logits).float(), batch.labels["mask"].long(), weight=weights)

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor:
        """The weights of all pixels, summed: what the loss divides by."""
        weights, mask = self._weights_on(batch.latents.device), batch.labels["mask"]
        inside = mask.sum(dtype=torch.int64)
        return weights[0] * (mask.numel() - inside) + weights[1] * inside

    def _weights_on(self, device: torch.device) -> torch.Tensor:
        """The class weights `[2]` on a device, copied there once."""
        weights = self._weights.get(device)
        if weights is None:
            weights = self._weights[device] = torch.tensor(self.class_weights, device=device)
        return weights

    def new_metric(self) -> ReferMetric:
        """Empty sums of the published and native scores."""
        return ReferMetric(self.no_target_px, general=self.metric_name in GENERAL)

    def samples(self, record: StoredRecord, *text_fields: str) -> dict[str, np.ndarray]:
        """One sample per sentence, all on the record's first latent.

        Args:
            record: a record of the set.
            text_fields: one of `text` (stored states, the default) and `tokens` (encoded online).

        Returns:
            `latent` float16 `[N, C, h, w]` and `view_px` int64 `[N, 2]`, the view's (h, w) (one array each, repeated
            without copying), and the text field `[N, L, ...]`.
        """
        (text_field,) = text_fields or ("text",)
        latent, text = record.array("latent", 0, 1), record.array(text_field)
        view_px = np.array(View.from_json(_entry(record.meta, "views", 0, record.key)).size_px, np.int64)
        return {
            "latent": np.broadcast_to(latent, (len(text), *latent.shape[1:])),
            "view_px": np.broadcast_to(view_px, (len(text), 2)),
            text_field: text,
        }

    def targets(self, record: StoredRecord) -> list[Target]:
        """The mask of every ref, at both sizes."""
        view = View.from_json(_entry(record.meta, "views", 0, record.key))
        refs = (_entry(record.meta, "refs", index, record.key) for index in range(len(record.meta["items"])))
        return [Target.of(ref["rle"], view) for ref in refs]

    def score(
        self, metric: ReferMetric, record: StoredRecord, outputs: torch.Tensor, targets: list[Target] | None = None
    ) -> None:
        """Count the logits `[N, 2, h, w]` of a record's sentences against the masks of the refs they belong to."""
        targets = self.targets(record) if targets is None else targets
        for target, (first, count) in zip(targets, record.meta["items"], strict=True):
            metric.update(outputs[first : first + count], target)

    def expected_count(self, manifest: Manifest) -> int:
        """Sentences of the set."""
        return manifest.counts["sentence"]

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """Logits `[N, 2, H, W]` of a record's sentences at the picture's own size, as the native scores see them."""
        size = (record.meta["height"], record.meta["width"])
        return F.interpolate(outputs.float(), size=size, mode="bilinear", align_corners=True)

    def answers(self, record: StoredRecord, outputs: torch.Tensor) -> Iterator[np.ndarray]:
        """The mask of every sentence, bool `[H, W]`, one sentence at a time. A task that is scored on sentences without
        an object makes it empty where it has fewer pixels than `no_target_px`; elsewhere every sentence has one."""
        for logits in outputs:
            (found,) = self.predictions(record, logits[None])
            mask = found[1] > found[0]
            if self.metric_name in GENERAL:
                mask = mask & ~answers_nothing(mask, self.no_target_px)
            yield mask.cpu().numpy()

    def working_bytes(
        self, size_px: tuple[int, int], view_px: tuple[int, int], views: int, sentences: int, *, whole: bool
    ) -> int:
        """Two logits of every pixel, of all sentences as a whole or of one, and a mask of each."""
        pixels, low = size_px[0] * size_px[1], 8 * view_px[0] * view_px[1] * sentences
        return 2 * low + pixels * (8 * (sentences if whole else 1) + sentences + 12)

    def steady(self, image: np.ndarray, answer: np.ndarray, style: Style) -> Style:
        """The colour of a video's masks is the one for the first frame in which something is found."""
        mask = mask_of(answer)
        return replace(style, colour=visible_colour(image, mask)) if style.colour is None and mask.any() else style

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """The picture, uint8 `[H, W, 3]`, with the predicted object tinted and outlined in a colour that can be seen
        on it."""
        mask = mask_of(answer)
        return tinted(image, mask, style.colour or visible_colour(image, mask))

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """The sentence with its colour and the object's share of the picture, or that nothing was found."""
        mask = mask_of(answer)
        if not mask.any():
            return Legend(f"nothing found: {style.sentence}" if style.sentence else "nothing found", empty=True)
        said = f"{style.sentence or 'the object'} ({mask.mean():.1%} of the picture)"
        return Legend(said, ((style.colour or visible_colour(image, mask), "found here"),))

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write the mask as a PNG of 0 and 255, or as bool in `.npy`."""
        if Path(path).suffix.lower() == ".npy":
            np.save(path, mask_of(answer))
        else:
            Image.fromarray(mask_of(answer).astype(np.uint8) * 255).save(path, format="PNG")


def mask_of(answer: np.ndarray) -> np.ndarray:
    """A mask, bool `[H, W]`, of one or of its logits `[2, H, W]`."""
    return answer.astype(bool) if answer.ndim == 2 else answer[1] > answer[0]


def _runs(sample: Sample) -> Runs:
    ref = _entry(sample.meta, "refs", sample.item, sample.key)
    height, width = ref["rle"]["size"]
    return Runs(ref["rle"]["counts"], (height, width))


def _view(sample: Sample) -> View:
    return View.from_json(_entry(sample.meta, "views", 0, sample.key))


def _entry(meta: Mapping[str, Any], name: str, index: int, key: str) -> dict[str, Any]:
    entries = meta.get(name, [])
    if index >= len(entries):
        raise SchemaMismatch(
            f"record {key}: meta[{name!r}] has {len(entries)} entries, entry {index} is needed. Task refer reads sets "
            "built from a source of sentences; see the set's README."
        )
    return entries[index]
