"""COCO's person: 17 keypoints, which of them are each other's mirror image, the bones between them, and a drawing.

Owns the facts of the annotation format (category `person` of person_keypoints_*.json) and how a pose is shown.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

KEYPOINTS = 17  # nose; then left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle
MIRRORED = (0, *(i + 1 if i % 2 else i - 1 for i in range(1, KEYPOINTS)))  # keypoint seen at i in a mirror image
BONES = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
LEFT, RIGHT, MIDDLE = (0, 200, 90), (240, 120, 0), (70, 140, 255)  # colours of a person's own left and right side


def drawn(image: np.ndarray, persons: np.ndarray, score_min: float) -> np.ndarray:
    """A picture, uint8 `[H, W, 3]`, with the keypoints `[P, 17, 3]` (x, y, score) and bones that score enough."""
    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture)
    width = max(round(max(picture.size) / 250), 1)
    for points in persons:
        shown = points[:, 2] >= score_min
        for a, b in BONES:
            if shown[a] and shown[b]:
                ends = [(float(points[i, 0]), float(points[i, 1])) for i in (a, b)]
                pen.line(ends, fill=_colour(a, b), width=width)
        for i in np.flatnonzero(shown).tolist():
            x, y = (float(v) for v in points[i, :2])
            pen.ellipse((x - width, y - width, x + width, y + width), fill=_colour(i, i))
    return np.asarray(picture)


def _colour(a: int, b: int) -> tuple[int, int, int]:
    sides = {"middle" if i == 0 else "left" if i % 2 else "right" for i in (a, b)} - {"middle"}
    return MIDDLE if len(sides) != 1 else LEFT if sides == {"left"} else RIGHT
