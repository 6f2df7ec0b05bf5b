"""A COCO keypoints folder of five made-up photographs, in the official layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.sources.coco_keypoints.persons import KEYPOINTS

HEIGHT, WIDTH = 48, 64


def person(ann_id: int, image_id: int, box: list[float], labelled: int = 17, **changes: Any) -> dict[str, Any]:
    """An annotation whose first `labelled` keypoints stand on the diagonal of its box."""
    x, y, w, h = box
    keypoints: list[float] = []
    for i in range(17):
        share = (i + 1) / 18
        keypoints += [round(x + share * w), round(y + share * h), 1 + i % 2] if i < labelled else [0, 0, 0]
    values = {"id": ann_id, "image_id": image_id, "category_id": 1, "bbox": box, "area": 0.5 * w * h}
    return {**values, "iscrowd": 0, "num_keypoints": labelled, "keypoints": keypoints, **changes}


def crowd(ann_id: int, image_id: int) -> dict[str, Any]:
    return person(ann_id, image_id, [0, 0, 64, 20], 0, iscrowd=1, segmentation={"counts": [1], "size": [48, 64]})


ANNOTATIONS = [
    person(11, 3, [20.5, 10.0, 12.0, 30.0]),
    person(12, 3, [40, 4, 30, 60], 5),  # reaches outside
    person(13, 3, [5, 5, 4, 8], 0),  # no keypoints
    crowd(14, 3),
    person(21, 7, [2, 2, 20, 40]),
    person(31, 8, [2, 2, 20, 40], 0),
    person(41, 9, [70, 2, 10, 10]),  # wholly outside: no box is left
]  # photograph 12 shows nobody


def write_coco(
    root: Path, annotations: list[dict[str, Any]] | None = None, splits: tuple[str, ...] = ("train2017", "val2017")
) -> Path:
    (root / "annotations").mkdir(parents=True)
    for split in splits:
        (root / split).mkdir()
        images = []
        for image_id in (9, 3, 12, 8, 7):  # the file is not in order
            name = f"{image_id:012d}.jpg"
            pixels = np.random.default_rng(image_id).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
        category = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}
        data = {"images": images, "annotations": annotations or ANNOTATIONS, "categories": [category]}
        (root / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(data))
    return root
