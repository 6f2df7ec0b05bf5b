"""Human pose: 17 keypoints of every person of a picture, top-down (COCO keypoints).

Owns what a training sample and an evaluated person are: heat maps of the drawn view of a person's box; the maps of a
person's views, mirror images among them, averaged and read; scores by average precision over the whole set. Heat maps
are `vpd.tasks.pose.heat_maps`'s, the scores `vpd.tasks.pose.metric`'s, drawing `vpd.tasks.pose.skeleton`'s.

Meta Prompts reports this task, but its code for it was never released (docs/methods/pose.md#what-was-published).
The recipe is ours: its learned prompts are the keypoints' queries, everything around them is what ViTPose and mmpose
do.

What a record holds: meta["persons"], all annotated ones; meta["boxes"], one for each item, with its score and the
person it belongs to; meta["views"]. See `pipeline.sources.coco_keypoints.source`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shards.errors import ConfigError, ContractError, SchemaMismatch
from shards.geometry.points import to_source, to_view
from shards.geometry.view import View, drawn_view, recorded_views
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction
from vpd.heads.ops.resize import resize
from vpd.tasks import Task
from vpd.tasks.pose.heat_maps import MIRROR, read_points, target_maps, unflipped
from vpd.tasks.pose.metric import PERSON_CATEGORY, KeypointAp
from vpd.tasks.pose.skeleton import KEYPOINTS, LEFT, MIDDLE, RIGHT, drawn

if TYPE_CHECKING:
    from shards.contract.schema import Schema
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch


def build(sigma: float = 2.0, score_min: float = 0.2, same_oks: float = 0.9) -> PoseTask:
    """The task. The defaults are mmpose's for 256 x 192 views.

    Args:
        sigma: of the target Gaussian, in pixels of the map, a quarter of the view's.
        score_min: keypoints with a lower score do not count for a person's score, and are not drawn.
        same_oks: of two persons of a picture that are more alike than this, the one with the lower score is left out.

    Raises:
        ConfigError: a value out of range.
    """
    if sigma <= 0 or not 0 <= score_min <= 1 or not 0 < same_oks <= 1:
        raise ConfigError(
            f"task pose: sigma {sigma}, score_min {score_min}, same_oks {same_oks}; expected a sigma above 0 and the "
            "others from 0 to 1."
        )
    return PoseTask(sigma, score_min, same_oks)


class PoseTask(Task):
    """See the module; `build` makes one."""

    name = "pose"
    head = "heat_maps"
    metric_name = "AP"  # chooses the best checkpoint
    export_suffix = ".json"

    def __init__(self, sigma: float, score_min: float, same_oks: float) -> None:
        self.sigma = sigma
        self.score_min = score_min
        self.same_oks = same_oks

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """The whole picture as one person's box, or the boxes that are given, and their mirror images."""
        return {"name": "persons", "mode": "exact", "size": list(size_px), "flip": True}

    def tokens(self, schema: Schema) -> int:
        """Never from a set: a set holds no text for keypoints.

        Raises:
            ConfigError: always, with the way out.
        """
        raise ConfigError(f"task pose finds keypoints by learned prompts: set model.prompts.count={KEYPOINTS}.")

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """A map for each keypoint."""
        return {"keypoints": KEYPOINTS}

    def labels(self, sample: Sample) -> dict[str, np.ndarray]:
        """Target of the drawn view: `maps` float32 `[17, h, w]` and `weights` float32 `[17]`.

        Raises:
            SchemaMismatch: the record has no such view or box, or the box has no annotated person.
        """
        box = _boxes(sample)[sample.item]
        if box["person"] is None:
            raise SchemaMismatch(
                f"record {sample.key}: box {sample.item} belongs to no annotated person. Train on a set built from the "
                "ground-truth boxes."
            )
        view = drawn_view(sample)
        keypoints = np.reshape(sample.meta["persons"][box["person"]]["keypoints"], (KEYPOINTS, 3))
        if view.flip:
            keypoints = keypoints[MIRROR]
        points = to_view(keypoints[:, :2], view)
        maps, weights = target_maps(points, keypoints[:, 2] > 0, view.size_px, self.sigma)
        return {"maps": maps, "weights": weights}

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """Squared error of maps `[B, 17, h, w]`, 0 for keypoints of weight 0, its mean over all pixels and keypoints;
        summed over the outputs of a head that has several."""
        target, weights = batch.labels["maps"], batch.labels["weights"]
        outputs = [logits] if isinstance(logits, torch.Tensor) else list(logits)
        errors = [(resize(maps.float(), target.shape[-2:]) - target).square() for maps in outputs]
        return torch.stack([(error * weights[:, :, None, None]).mean() for error in errors]).sum()

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor:
        """Its samples: the loss is a mean over equally large maps."""
        return torch.full((), float(len(batch)), device=batch.latents.device)

    def new_metric(self) -> KeypointAp:
        """No picture yet."""
        return KeypointAp(self.same_oks)

    def samples(self, record: StoredRecord, *text_fields: str) -> dict[str, np.ndarray]:
        """One sample per view: `latent` float16 `[V, C, h, w]`."""
        return {"latent": record.array("latent")}

    def persons(self, record: StoredRecord, outputs: torch.Tensor) -> list[tuple[float, np.ndarray]]:
        """What is found in a picture.

        Args:
            outputs: maps `[V, 17, h, w]` of all views, in the order of `samples`.

        Returns:
            For every box with a score: the person's score, that of the box times the mean of the keypoints' that reach
            `score_min`, and keypoints, float64 `[17, 3]` (x, y in pixels of the picture, score).

        Raises:
            ContractError: views of one person that are not the same crop or its mirror image.
        """
        views, found = recorded_views(record), []
        for box, (first, count) in zip(_boxes(record), record.meta["items"], strict=True):
            if box["score"] is None:  # kept for its persons, which nobody looked for
                continue
            run = slice(first, first + count)
            maps, view = _average(outputs[run], views[run], record.key)
            points, scores = read_points(maps, view.size_px)
            keypoints = np.column_stack([to_source(points, view), scores])
            counted = scores[scores > self.score_min]
            found.append((float(box["score"]) * float(counted.mean() if counted.size else 0.0), keypoints))
        return found

    def score(self, metric: KeypointAp, record: StoredRecord, outputs: torch.Tensor) -> None:
        """Count a picture: its annotated persons, and those found by the maps `[V, 17, h, w]` of its views."""
        metric.update(record.meta["image_id"], record.meta["persons"], self.persons(record, outputs))

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """The persons of a picture, `[1, P, 17, 3]`: x and y in pixels of the picture, and the keypoint's score."""
        keypoints = [torch.from_numpy(points) for _, points in self.persons(record, outputs)]
        return torch.stack(keypoints)[None] if keypoints else torch.zeros(1, 0, KEYPOINTS, 3)

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """The picture, uint8 `[H, W, 3]`, with the skeletons of persons `[P, 17, 3]`."""
        return drawn(image, answer, self.score_min)

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """How many keypoints score enough to be drawn, and the colours of the sides."""
        shown = int((answer[..., 2] >= self.score_min).sum())
        if not shown:
            return Legend("no keypoint found", empty=True)
        persons = f"{len(answer)} person{'s' * (len(answer) != 1)}, {shown} keypoints"
        return Legend(persons, ((LEFT, "left side"), (RIGHT, "right side"), (MIDDLE, "between the sides")))

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write persons `[P, 17, 3]` as JSON in COCO's results form; the picture's id is the file's name, as a number
        where it is one, the score the mean of the keypoints'."""
        stem = Path(path).stem
        results = [
            {
                "image_id": int(stem) if stem.isdigit() else stem,
                "category_id": PERSON_CATEGORY,
                "keypoints": [round(float(value), 3) for value in keypoints.ravel()],
                "score": float(keypoints[:, 2].mean()),
            }
            for keypoints in answer
        ]
        Path(path).write_text(json.dumps(results) + "\n")


def _average(outputs: torch.Tensor, views: Sequence[View], key: str) -> tuple[torch.Tensor, View]:
    """Maps `[V, 17, h, w]` of one person's views as one, `[17, h, w]`, and its view, which is not flipped."""
    upright = views[0].mirrored() if views[0].flip else views[0]
    aligned = []
    for maps, view in zip(outputs.float(), views, strict=True):
        if view not in (upright, upright.mirrored()):
            raise ContractError(
                f"record {key}: the views of one person are different crops. Evaluate on a set built with views "
                "persons, mode exact."
            )
        aligned.append(unflipped(maps) if view.flip else maps)
    return torch.stack(aligned).mean(dim=0), upright


def _boxes(holder: Sample | StoredRecord) -> list[dict[str, Any]]:
    boxes, items = holder.meta.get("boxes", []), holder.meta["items"]
    if len(boxes) != len(items):
        raise SchemaMismatch(
            f"record {holder.key}: {len(boxes)} boxes in meta['boxes'] for {len(items)} items. Task pose reads sets "
            "built from the source coco_keypoints with views persons; see the set's README."
        )
    return boxes
