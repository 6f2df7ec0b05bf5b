"""Hand-made ADEChallengeData2016 trees for the source tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FIVE_COLUMNS = "Idx\tRatio\tTrain\tVal\tName\n1\t0.5\t9\t3\twall\n2\t0.3\t4\t1\tbuilding, edifice \n3\t0.2\t2\t1\tsky\n"
SIX_COLUMNS = 'Idx,Ratio,Train,Val,Stuff,Name\n1,0.5,9,3,1,wall\n2,0.3,4,1,1,"building, edifice "\n3,0.2,2,1,1,sky\n'


def write_pair(root: Path, split: str, name: str, size_px: tuple[int, int] = (6, 9), grey: bool = False) -> np.ndarray:
    """One picture and its label, whose values 0..3 all occur; returns the label as written, uint8 [H, W]."""
    random = np.random.default_rng(sum(map(ord, name)))
    label = random.permutation(np.arange(np.prod(size_px)) % 4).reshape(size_px).astype(np.uint8)
    shape = size_px if grey else (*size_px, 3)
    for folder, pixels, suffix in (
        ("images", random.integers(0, 256, shape, np.uint8), ".jpg"),
        ("annotations", label, ".png"),
    ):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / folder / split / (name + suffix))
    return label


def write_tree(root: Path, objects: str = FIVE_COLUMNS) -> Path:
    """A tree of three classes with two training pairs and one validation pair; tests then break it."""
    for number in (1, 2):
        write_pair(root, "training", f"ADE_train_{number:08d}")
    write_pair(root, "validation", "ADE_val_00000001")
    (root / "objectInfo150.txt").write_text(objects)
    (root / "sceneCategories.txt").write_text("ADE_train_00000001 airport_terminal\nADE_val_00000001 art_gallery\n")
    return root
