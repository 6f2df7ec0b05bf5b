"""Hand-made REFER folders for the source tests, and the way to the real sample."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REAL = Path(__file__).resolve().parents[4] / "shared" / "realdata" / "refcoco"
needs_real_sample = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real RefCOCO sample is not at {REAL}")
IMAGES = "images/mscoco/images/train2014"
SQUARE = [2.0, 2.0, 10.0, 2.0, 10.0, 10.0, 2.0, 10.0]


def ref(ref_id: int, image_id: int, ann_id: int, *sentences: str, split: str = "train") -> dict[str, Any]:
    sent_ids = [10 * ref_id + k for k in range(len(sentences))]
    return {
        "sent_ids": sent_ids,
        "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
        "ann_id": ann_id,
        "ref_id": ref_id,
        "image_id": image_id,
        "split": split,
        "sentences": [
            {"tokens": sent.split(), "raw": sent.upper(), "sent_id": sent_id, "sent": sent}
            for sent_id, sent in zip(sent_ids, sentences, strict=True)
        ],
        "category_id": 1,
    }


def annotation(ann_id: int, image_id: int, segmentation: Any) -> dict[str, Any]:
    return {
        "id": ann_id,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": segmentation,
        "iscrowd": int(isinstance(segmentation, dict)),
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
    }


def write_folder(root: Path, refs: Any, annotations: list[dict[str, Any]], image_ids: tuple[int, ...] = (7,)) -> Path:
    """A complete refcoco (unc) folder with 20 x 16 pictures; tests then break it."""
    (root / IMAGES).mkdir(parents=True)
    (root / "refcoco").mkdir()
    entries = []
    for image_id in image_ids:
        name = f"COCO_train2014_{image_id:012d}.jpg"
        pixels = np.random.default_rng(image_id).integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / IMAGES / name, quality=95)
        entries.append({"id": image_id, "file_name": name, "height": 16, "width": 20})
    write_instances(root, entries, annotations)
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    return root


def write_instances(root: Path, entries: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "refcoco" / "instances.json").write_text(json.dumps(content))
