"""Small folders in the layouts that people and tools have, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

H, W = 24, 32
RANDOM = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def photo(path: Path) -> Path:
    return save(path, RANDOM.integers(0, 256, (H, W, 3), dtype=np.uint8))


def label(*values: int) -> np.ndarray:
    """uint8 [H, W]: a row of bars, one of each value, as wide as each other."""
    columns = np.array(values, np.uint8)[np.arange(W) * len(values) // W]
    return np.repeat(columns[None], H, axis=0)


def coloured(values: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    return table[values]


def folders(root: Path, values: np.ndarray | Callable[[int], np.ndarray], splits: tuple[str, ...] = ("",)) -> Path:
    """images/ and labels/, five pairs a split, with a folder for each split that has a name."""
    for split in splits:
        for number in range(5):
            photo(root / "images" / split / f"{number}.jpg")
            pixels = values(number) if callable(values) else values
            save(root / "labels" / split / f"{number}.png", pixels)
    return root


def coco(root: Path, splits: tuple[str, ...] = ("train", "valid"), annotate: bool = True) -> Path:
    """Roboflow's export: pictures and _annotations.coco.json in a folder for each split, ids with gaps."""
    for split in splits:
        images = [{"id": n, "file_name": f"{split}{n}.jpg", "height": H, "width": W} for n in range(3)]
        for image in images:
            photo(root / split / str(image["file_name"]))
        square = [4.0, 4.0, 20.0, 4.0, 20.0, 16.0, 4.0, 16.0]
        annotations = [
            {"id": n, "image_id": n, "category_id": 3 + 4 * (n % 2), "segmentation": [square], "iscrowd": 0}
            for n in range(3 if annotate else 0)
        ]
        categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
        data = {"images": images, "annotations": annotations, "categories": categories}
        (root / split / "_annotations.coco.json").write_text(json.dumps(data))
    return root


def labelme(root: Path) -> Path:
    """Pictures and LabelMe's JSON in one folder."""
    for number in range(5):
        photo(root / f"{number}.jpg")
        shapes = [
            {"label": name, "points": [[x, 4], [x + 8, 4], [x + 8, 12], [x, 12]], "shape_type": "polygon"}
            for name, x in (("bus", 2), ("car", 18))
        ]
        data = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageHeight": H, "imageWidth": W, "imageData": None}
        (root / f"{number}.json").write_text(json.dumps(data))
    return root


def panoptic(root: Path) -> Path:
    """COCO panoptic: segment 1 is of category 5, the rest is void."""
    images, annotations = [], []
    for number in range(2):
        photo(root / "pictures" / f"{number}.jpg")
        save(root / "panoptic" / f"{number}.png", coloured(label(0, 1), {1: (1, 1, 0)}))
        images.append({"id": number, "file_name": f"{number}.jpg", "height": H, "width": W})
        info = {"id": 257, "category_id": 5, "iscrowd": 0, "area": H * W // 2}
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": [info]})
    data = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "cat"}]}
    (root / "panoptic.json").write_text(json.dumps(data))
    return root


def depth(root: Path, write: Callable[[Path, int], Any], suffix: str, size: tuple[int, int] = (H, W)) -> Path:
    """rgb/ and depth/, five pairs; `write` writes the depth of a number at a path."""
    for number in range(5):
        save(root / "rgb" / f"{number}.png", RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8))
        (root / "depth").mkdir(exist_ok=True)
        write(root / "depth" / f"{number}{suffix}", number)
    return root


def metres(number: int) -> np.ndarray:
    """float32 [H, W] from 1 to 4 metres, deeper in every picture; a corner without a measurement."""
    found = np.linspace(1, 4, H * W, dtype=np.float32).reshape(H, W) + 0.1 * number
    found[:3, :4] = 0
    return found


def sixteen_bits(units: int, rotate: bool = False) -> Callable[[Path, int], Any]:
    """Writes 16-bit PNGs with so many units in a metre, as SUN RGB-D rotates them if asked to."""

    def write(path: Path, number: int) -> None:
        values = np.rint(metres(number) * units).astype(np.uint16)
        save(path, values << np.uint16(3) | values >> np.uint16(13) if rotate else values)

    return write


def sentences(root: Path, target: dict[str, Any], more: dict[str, Any] | None = None, file: str = "refs.jsonl") -> Path:
    """photos/ and a file of two sentences a picture, one of which means nothing there."""
    lines = []
    empty = {key: [] for key in target}
    for number in range(5):
        photo(root / "photos" / f"{number}.jpg")
        for text, means in ((f"the thing number {number}", target), ("the absent one", empty)):
            lines.append(json.dumps({"image": f"{number}.jpg", "text": text, **means, **(more or {})}))
    (root / file).write_text("\n".join(lines))
    return root
