"""A data folder of RefCOCO's size: annotation files of 105 and 9 MB, and as many photographs as a build's start opens.

Owns the made-up input of `benchmarks.build_start`. Counts are the published ones where there are any: 19,994 pictures,
196,771 annotations, 50,000 refs, 142,210 sentences.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from pipeline.sources.refcoco.source import IMAGES

PICTURES, ANNOTATIONS, REFS, SENTENCES = 19_994, 196_771, 50_000, 142_210
SPLITS = (("train", 16_994), ("val", 1_500), ("testA", 750), ("testB", 750))  # pictures of each
PHOTOGRAPHS, DISTINCT = 2_048, 32  # on disk, and how many of them differ
WORDS = [
    "the",
    "left",
    "red",
    "man",
    "in",
    "of",
    "woman",
    "right",
    "shirt",
    "chair",
    "guy",
    "front",
    "white",
    "black",
    "on",
    "with",
    "girl",
    "blue",
    "giraffe",
]
HEIGHT, WIDTH = 480, 640


def write_refcoco(root: Path) -> None:
    """What `refcoco` reads of `root`, for the UNC splits."""
    rng = np.random.default_rng(0)
    folder = root / "refcoco"
    folder.mkdir(parents=True)
    ids = np.sort(rng.choice(581_921, PICTURES, replace=False))
    names = [f"COCO_train2014_{number:012d}.jpg" for number in ids]
    owner = np.concatenate([np.arange(PICTURES), rng.integers(0, PICTURES, ANNOTATIONS - PICTURES)])
    categories = [{"id": number, "name": f"thing {number}", "supercategory": "thing"} for number in range(1, 91)]
    content = {
        "info": {"description": "made up"},
        "licenses": [],
        "images": [_image(int(number), name) for number, name in zip(ids, names, strict=True)],
        "annotations": [_annotation(rng, number, int(ids[at])) for number, at in enumerate(owner)],
        "categories": categories,
    }
    (folder / "instances.json").write_bytes(orjson.dumps(content))
    splits = [split for split, count in SPLITS for _ in range(count)]
    refs = [_ref(rng, number, int(ids[owner[number]]), splits[int(owner[number])]) for number in range(REFS)]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    _write_photographs(root / IMAGES, names[:PHOTOGRAPHS])


def _image(number: int, name: str) -> dict[str, Any]:
    return {
        "license": 1,
        "file_name": name,
        "coco_url": f"http://mscoco.org/images/{number}",
        "height": HEIGHT,
        "width": WIDTH,
        "date_captured": "2013-11-17 02:36:21",
        "flickr_url": f"http://farm3.staticflickr.com/2790/{number}_ec3f5b9abc_z.jpg",
        "id": number,
    }


def _annotation(rng: np.random.Generator, number: int, image_id: int) -> dict[str, Any]:
    """A polygon of 13 to 39 points around a middle, and what else COCO says."""
    points = int(rng.integers(13, 40))
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = rng.uniform(20, 120, points)
    xy = np.stack([320 + radius * np.cos(angles), 240 + radius * np.sin(angles)], 1).round(2)
    (x0, y0), (x1, y1) = xy.min(0), xy.max(0)
    return {
        "segmentation": [xy.ravel().tolist()],
        "area": float(round((x1 - x0) * (y1 - y0) * 0.6, 4)),
        "iscrowd": 0,
        "image_id": image_id,
        "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
        "category_id": number % 90 + 1,
        "id": number + 1,
    }


def _ref(rng: np.random.Generator, number: int, image_id: int, split: str) -> dict[str, Any]:
    first, last = (SENTENCES * n // REFS for n in (number, number + 1))
    sentences = []
    for sent_id in range(first, last):
        tokens = [WORDS[at] for at in rng.integers(0, len(WORDS), int(rng.integers(1, 8)))]
        text = " ".join(tokens)
        sentences.append({"tokens": tokens, "raw": text.title(), "sent_id": sent_id, "sent": text})
    return {
        "sent_ids": list(range(first, last)),
        "file_name": f"COCO_train2014_{image_id:012d}_{number}.jpg",
        "ann_id": number + 1,
        "ref_id": number,
        "image_id": image_id,
        "split": split,
        "sentences": sentences,
        "category_id": number % 90 + 1,
    }


def _write_photographs(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number, name in enumerate(names):
        path = folder / name
        if number >= DISTINCT:
            path.hardlink_to(folder / names[number % DISTINCT])
            continue
        coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=92)
