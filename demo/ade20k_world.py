"""Writes the synthetic world in the official layout of ADE20K's challenge release, so that the real source reads it.

Owns the files only; scenes come from `demo.world`. The layout and the odd sides of the real thing are those of
docs/methods/data_layouts.md#ade20k: sizes differ, label 0 is "other" (here the pebbles), a class table with counts and
trailing spaces, one line per picture and its scene category, and now and then a grey JPEG.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from demo.world import LABELS, SHAPES, Rendering, Scene, draw_scene, render

CLASSES = ("wall", "floor", "pole", *SHAPES)  # label value = place + 1; everything else is 0
SPLITS = {"training": "train", "validation": "val"}  # folder: part of the file names
DEFAULT_IMAGES = {"training": 400, "validation": 40}
GREY_EVERY = 25  # every 25th picture is a grey JPEG
_VALUES = np.array([CLASSES.index(name) + 1 if name in CLASSES else 0 for name in LABELS], np.uint8)


def write_ade20k_world(root: str | Path, images: Mapping[str, int] = DEFAULT_IMAGES, seed: int = 0) -> Path:
    """Writes images/, annotations/, objectInfo150.txt and sceneCategories.txt under `root` and returns it.

    `images` is the number of pictures of each split. The same arguments give the same bytes. ValueError: a split that
    does not exist.
    """
    if unknown := set(images) - set(SPLITS):
        raise ValueError(f"images names {sorted(unknown)}; expected {', '.join(SPLITS)}")
    root = Path(root)
    scenes: list[str] = []
    pixels = np.zeros(len(CLASSES) + 1, np.int64)
    pictures = {split: np.zeros(len(CLASSES) + 1, np.int64) for split in SPLITS}
    for split, count in images.items():
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            scene, picture = frame_of(seed, split, number)
            label = label_of(picture)
            name = f"ADE_{SPLITS[split]}_{number:08d}"
            photo = Image.fromarray(picture.image)
            if number % GREY_EVERY == 0:
                photo = photo.convert("L")
            photo.save(root / "images" / split / f"{name}.jpg", quality=95, subsampling=0)
            Image.fromarray(label).save(root / "annotations" / split / f"{name}.png")
            scenes.append(f"{name} {'hall' if scene.pole_px else 'room'}")
            found = np.bincount(label.ravel(), minlength=len(pixels))
            pixels += found
            pictures[split] += found > 0
    shares = pixels / max(int(pixels.sum()), 1)
    rows = [
        f"{k}\t{shares[k]:.4f}\t{pictures['training'][k]}\t{pictures['validation'][k]}\t{name} "
        for k, name in enumerate(CLASSES, 1)
    ]
    header = "Idx\tRatio\tTrain\tVal\tName"
    (root / "objectInfo150.txt").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    (root / "sceneCategories.txt").write_text("\n".join(scenes) + "\n", encoding="utf-8")
    return root


def frame_of(seed: int, split: str, number: int) -> tuple[Scene, Rendering]:
    """A picture of a split, counted from 1."""
    scene = draw_scene(np.random.default_rng([seed, 2, list(SPLITS).index(split), number]))
    return scene, render(scene)


def label_of(picture: Rendering) -> np.ndarray:
    """The label as ADE20K writes it, uint8 [H, W]: 0 = other, k = k-th class."""
    return _VALUES[picture.labels]
