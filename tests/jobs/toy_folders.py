"""Folders of one's own, a few small pictures each: masks by lists, metres in one folder, boxes by a key, captions.

Each function writes one and returns the words that tell `init` of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

H, W, PICTURES = 60, 80, 5
# Views and heads of a size for the tiny model.
CROPS = {
    "seg": (
        "{name: segmentation, mode: k, k: 2, crop: 64, base: [256, 64]}",
        "{name: segmentation_tiles, crop: 64, stride: 43, base: [256, 64]}",
    ),
    "depth": (
        "{name: depth, mode: k, k: 2, recipe: vpd, crop: 60, size: 64, cut_depth: none}",
        "{name: depth_tiles, size: 64, short_side: 60, stride: 40}",
    ),
    "refer": ("{name: exact, size: 64}", ""),
}
HEADS = {"seg": "{channels: 16}", "depth": "{width: 16, hidden: 8}", "refer": "{}"}


def scene(path: Path, number: int) -> None:
    """A bright square on a dark ground, farther to the right in every picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((H, W, 3), 40 + number, np.uint8)
    pixels[20:40, 10 * number : 10 * number + 20] = 220
    Image.fromarray(pixels).save(path)


def masks(root: Path) -> list[str]:
    """Pictures a_img.jpg and masks a_gt.png of 0 and 255, and lists of the splits."""
    (root / "gts").mkdir(parents=True)
    for number in range(PICTURES):
        scene(root / f"imgs/{number:02}_img.jpg", number)
        mask = np.zeros((H, W), np.uint8)
        mask[20:40, 10 * number : 10 * number + 20] = 255
        Image.fromarray(mask).save(root / f"gts/{number:02}_gt.png")
    for split, numbers in (("train", range(4)), ("val", range(4, PICTURES))):
        (root / f"{split}.txt").write_text("".join(f"{n:02}\n" for n in numbers))
    return [f"images={root / 'imgs'}", f"labels={root / 'gts'}", "source.classes=[ground, square]"]


def metres(root: Path) -> list[str]:
    """Pictures and float .npy in metres in one folder, divided by a seed."""
    for number in range(PICTURES):
        scene(root / f"{number}.png", number)
        depth_m = np.linspace(1, 4, H * W, dtype=np.float32).reshape(H, W)
        depth_m[:4] = np.nan
        np.save(root / f"{number}_depth.npy", depth_m)
    return [f"images={root}", f"labels={root}"]


def sentences(root: Path) -> list[str]:
    """Boxes in one file with a key that says the split."""
    entries = []
    for number in range(PICTURES):
        scene(root / f"photos/{number}.png", number)
        box = [10 * number, 20, 20, 20]
        split = "val" if number == 4 else "train"
        entries.append({"image": f"{number}.png", "text": "the square", "bbox": [box], "split": split})
        entries.append({"image": f"{number}.png", "text": "the circle", "bbox": [], "split": split})
    (root / "all.json").write_text(json.dumps(entries))
    return [f"images={root / 'photos'}", f"labels={root / 'all.json'}"]
