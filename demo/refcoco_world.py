"""Writes the synthetic world in the official layout of the RefCOCO family, so that the real source reads it.

Owns the files only; scenes come from `demo.world`, phrases from `demo.phrases`. The layout and the odd sides of the
real thing are those of docs/methods/data_layouts.md#refcoco-family: a pickle of plain dicts (protocol 2), a ref's
`file_name` that is not a file, polygons in one or two parts, a crowd annotation as uncompressed run lengths,
annotations that no ref names.

Image ids come from the seed and the split, and a scene from the seed and its id: two datasets written with one seed
into one root share their pictures, as the real ones do, and other seeds never overwrite them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.phrases import phrases_for
from demo.world import LABELS, SHAPES, Polygon, Rendering, Scene, draw_scene, render

IMAGES = "images/mscoco/images/train2014"
DEFAULT_IMAGES = {"train": 400, "val": 40, "testA": 20, "testB": 20}
FIRST_ID = {"train": 0, "val": 50_000, "test": 60_000, "testA": 70_000, "testB": 80_000}
ROOM_FOR = 10_000  # images a split; train has five times that
CATEGORIES = {LABELS.index(name): name for name in (*SHAPES, "pebbles")}


def write_refcoco_world(
    root: str | Path,
    images: Mapping[str, int] = DEFAULT_IMAGES,
    seed: int = 0,
    dataset: str = "refcoco",
    split_by: str = "unc",
) -> Path:
    """Writes images, instances.json and refs(<split_by>).p under `root` and returns it.

    `images` is the number of pictures of each split. The same arguments give the same bytes. ValueError: a split that
    does not exist, or too many images for its range of ids.
    """
    for split, count in images.items():
        room = ROOM_FOR * (5 if split == "train" else 1)
        if split not in FIRST_ID or not 0 <= count <= room:
            raise ValueError(
                f"{count} images for split {split!r}; expected at most {room} and one of {', '.join(FIRST_ID)}"
            )
    root = Path(root)
    (root / IMAGES).mkdir(parents=True, exist_ok=True)
    (root / dataset).mkdir(parents=True, exist_ok=True)
    image_entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    for split, count in images.items():
        for number in range(count):
            image_id = seed * 100_000 + FIRST_ID[split] + number + 1
            scene = scene_of(seed, image_id)
            picture = render(scene)
            name = f"COCO_train2014_{image_id:012d}.jpg"
            Image.fromarray(picture.image).save(root / IMAGES / name, quality=95, subsampling=0)
            image_entries.append(_image_entry(image_id, name, scene))
            found = _annotations(image_id, scene, picture)
            annotations += found
            refs += _refs(split, name, found, scene, np.random.default_rng([seed, image_id, 1]), refs)

    instances = {
        "info": {"description": "synthetic rooms in COCO form", "version": "1.0", "year": 2014},
        "images": image_entries,
        "licenses": [{"id": 1, "name": "made by this project's demo", "url": ""}],
        "annotations": annotations,
        "categories": [{"id": key, "name": name, "supercategory": "thing"} for key, name in CATEGORIES.items()],
    }
    (root / dataset / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    (root / dataset / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))
    return root


def scene_of(seed: int, image_id: int) -> Scene:
    """The first scene of this id's random stream in which every object has a phrase of its own."""
    random = np.random.default_rng([seed, image_id])
    while True:
        scene = draw_scene(random)
        if all(phrases_for(index, scene, np.random.default_rng(0)) for index in range(len(scene.things))):
            return scene


def _image_entry(image_id: int, name: str, scene: Scene) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": name,
        "height": scene.height,
        "width": scene.width,
        "license": 1,
        "coco_url": f"http://mscoco.org/images/{image_id}",
        "flickr_url": "",
        "date_captured": "2014-01-01 00:00:00",
    }


def _annotations(image_id: int, scene: Scene, picture: Rendering) -> list[dict[str, Any]]:
    """One for each object, in order, then the pebbles if there are any."""
    found: list[dict[str, Any]] = []
    for index, thing in enumerate(scene.things):
        parts = scene.parts(thing)
        found.append(
            {
                "id": image_id * 10 + index,
                "image_id": image_id,
                "category_id": LABELS.index(thing.shape),
                "segmentation": [[round(value, 2) for point in part for value in point] for part in parts],
                "area": float(picture.masks[index].sum()),
                "bbox": _box(parts),
                "iscrowd": 0,
            }
        )
    if picture.pebbles.any():
        rows, columns = np.nonzero(picture.pebbles)
        x, y = int(columns.min()), int(rows.min())
        found.append(
            {
                "id": 900_100_000_000 + image_id,  # COCO numbers crowds far above all others
                "image_id": image_id,
                "category_id": LABELS.index("pebbles"),
                "segmentation": {"counts": run_lengths(picture.pebbles), "size": [scene.height, scene.width]},
                "area": float(picture.pebbles.sum()),
                "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                "iscrowd": 1,
            }
        )
    return found


def _refs(
    split: str,
    name: str,
    annotations: list[dict[str, Any]],
    scene: Scene,
    random: np.random.Generator,
    before: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """One for each object, except that about one in eight stays unnamed where another is left."""
    refs: list[dict[str, Any]] = []
    for index in range(len(scene.things)):
        phrases = phrases_for(index, scene, random)
        if refs and random.random() < 0.125:
            continue
        ref_id = len(before) + len(refs)
        sent_ids = [3 * ref_id + k for k in range(len(phrases))]
        refs.append(
            {
                "sent_ids": sent_ids,
                "file_name": name.replace(".jpg", f"_{index}.jpg"),
                "ann_id": annotations[index]["id"],
                "ref_id": ref_id,
                "image_id": annotations[index]["image_id"],
                "split": split,
                "sentences": [
                    {"tokens": phrase.split(), "raw": phrase.capitalize(), "sent_id": sent_id, "sent": phrase}
                    for sent_id, phrase in zip(sent_ids, phrases, strict=True)
                ],
                "category_id": annotations[index]["category_id"],
            }
        )
    return refs


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed counts of a mask [H, W]: column by column, lengths of runs of 0, 1, 0, ..."""
    pixels = mask.T.reshape(-1).astype(np.int8)
    changes = np.flatnonzero(np.diff(pixels, prepend=0, append=1 - pixels[-1]))
    return [int(length) for length in np.diff(changes, prepend=0)]


def _box(parts: list[Polygon]) -> list[float]:
    """[x, y, width, height]"""
    xs = [x for part in parts for x, _ in part]
    ys = [y for part in parts for _, y in part]
    return [round(value, 2) for value in (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))]
