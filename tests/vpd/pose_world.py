"""Made-up persons, sets of them as the build writes them, and a model that knows the answers."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.views import consecutive, persons
from shards.contract.schema import Field, Record, Schema
from shards.geometry.points import to_view
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from shards.writing.writer import seal_set, write_shard
from vpd.tasks.pose.heat_maps import MIRROR, target_maps

HEIGHT, WIDTH = 300, 400
EXACT = persons.build(flip=True)
ACROSS = (50, 54, 46, 58, 42, 68, 32, 78, 22, 86, 14, 62, 38, 64, 36, 66, 34)  # a person who faces us: left is right
DOWN = (8, 6, 6, 8, 8, 22, 22, 38, 38, 52, 52, 55, 55, 75, 75, 95, 95)
POSE = np.column_stack([ACROSS, DOWN]) / 100  # shares of the box


def person(number, box, labelled=17, **changes):
    """An annotated person in a box (x, y, w, h)."""
    x, y, w, h = box
    keypoints = np.zeros((17, 3))
    keypoints[:labelled, :2] = (POSE * (w, h) + (x, y))[:labelled].round()
    keypoints[:labelled, 2] = 1 + np.arange(labelled) % 2
    values = {"ann_id": number, "box_xywh_px": list(box), "area": 0.5 * w * h, "num_keypoints": labelled}
    return {**values, "iscrowd": 0, "keypoints": keypoints.ravel().tolist(), **changes}


def people(number):
    """Persons of a made-up picture, large, medium and beyond the border; a crowd; one without keypoints."""
    rng = np.random.default_rng(number)
    x, y = rng.integers(0, 40, 2).tolist()
    return [
        person(1, (x + 120, y, 150, 240)),
        person(2, (x + 20, y + 20, 60, 90), labelled=11),
        person(3, (330, y + 100, 70, 150), labelled=9),
        person(4, (0, 0, 400, 80), labelled=0, iscrowd=1),
        person(5, (x + 300, 10, 20, 30), labelled=0),
    ]


def record_of(number, plan=EXACT, image_id=None, **changes):
    """A record whose latents hold, at (0, 0, 0), the number of their view in the set."""
    annotated = people(number)
    wanted = [i for i, p in enumerate(annotated) if p["num_keypoints"]]
    boxes = [{"box_xywh_px": annotated[i]["box_xywh_px"], "score": 1.0, "person": i} for i in wanted]
    key = f"{image_id or number + 1:012d}"
    runs = [
        plan.box_views(key, n, (x, y, min(x + w, WIDTH), min(y + h, HEIGHT)), HEIGHT, WIDTH)
        for n, (x, y, w, h) in enumerate(box["box_xywh_px"] for box in boxes)
    ]
    views = [view for run in runs for view in run]
    latents = np.zeros((len(views), 4, 32, 24), np.float16)
    latents[:, 0, 0, 0] = number * 100 + np.arange(len(views))
    meta = {
        "items": [list(run) for run in consecutive([len(run) for run in runs])],
        "views": [view.to_json() for view in views],
        "image_id": image_id or number + 1,
        "height": HEIGHT,
        "width": WIDTH,
        "persons": annotated,
        "boxes": boxes,
        **changes,
    }
    return Record(key, {"latent": latents, "meta": meta})


class Oracle(torch.nn.Module):
    """Answers the right maps for every view of a set; `damage(maps, record, view)` may spoil them."""

    def __init__(self, shards, damage=lambda maps, record, view: maps):
        super().__init__()
        self.answers = {}
        for r in range(shards.n_records):
            meta = shards.record(r).meta
            ids = shards.record(r).array("latent")[:, 0, 0, 0].astype(int).tolist()
            for (first, count), box in zip(meta["items"], meta["boxes"], strict=True):
                for v in range(first, first + count):
                    view = View.from_json(meta["views"][v])
                    if box["person"] is None:
                        self.answers[ids[v]] = torch.zeros(17, 64, 48)
                        continue
                    keypoints = np.reshape(meta["persons"][box["person"]]["keypoints"], (17, 3))
                    keypoints = keypoints[MIRROR] if view.flip else keypoints
                    maps, _ = target_maps(to_view(keypoints[:, :2], view), keypoints[:, 2] > 0, view.size_px, 2.0)
                    self.answers[ids[v]] = torch.from_numpy(damage(maps, r, view))

    def forward(self, latents, context, out_size_px):
        assert context is None
        assert out_size_px is None
        return torch.stack([self.answers[int(number)] for number in latents[:, 0, 0, 0]])


def write_set(root, records):
    """A finished set, opened."""
    schema = Schema((Field("latent", "npy", "float16", ("V", 4, 32, 24), "view"), Field("meta", "json")), "view")
    shard = write_shard(root, f"{root.name}-000000", schema, records)
    seal_set(
        root, name=root.name, split="val", recipe={}, schema=schema, shards=[shard], rejects=[], tables=[], card={}
    )
    return ShardSet.open(root)


def independent_ap(shards, found):
    """COCO's own evaluation of the same persons, with ground truth put together here."""
    metas = [shards.record(r).meta for r in range(shards.n_records)]
    annotations = [
        {**p, "image_id": m["image_id"], "category_id": 1, "bbox": p["box_xywh_px"]}
        for m in metas
        for p in m["persons"]
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    images = [{"id": m["image_id"]} for m in metas]
    with contextlib.redirect_stdout(io.StringIO()):
        truth: Any = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}], "info": {}}
        truth.createIndex()
        evaluation: Any = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR"), evaluation.stats[:6].tolist(), strict=True))
