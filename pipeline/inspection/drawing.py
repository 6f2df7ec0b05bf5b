"""A picture beside the same picture with its labels laid over it, small enough for a page.

Owns colours: of classes, of distances, of refs. Shapes: H, W = size of the picture, h, w = of the drawing.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from pipeline.example import Example
from pipeline.inspection.labels import Classes, Depth
from pipeline.sources.refs.masks import decode_mask

SIDE_PX = 320  # longer side of a drawing
REFS = 4  # masks drawn of a picture
_GOLDEN_TURN = 0.61803398875  # consecutive hues a golden ratio of the circle apart never come close for long


@dataclass(frozen=True)
class Drawing:
    """Two JPEGs, and texts with the colour [r, g, b] in which what they mean is drawn."""

    key: str
    picture: bytes
    overlay: bytes
    texts: tuple[tuple[str, tuple[int, int, int] | None], ...]


def draw(example: Example, labels: Sequence[Classes | Depth]) -> Drawing:
    """Classes in their colours, depth from red (near) to blue (far), refs in one colour each, boxes outlined; black is
    what is ignored or not measured."""
    scale = SIDE_PX / max(example.height_px, example.width_px)
    w, h = (max(round(side * scale), 1) for side in (example.width_px, example.height_px))
    picture = Image.fromarray(example.image).resize((w, h), Image.Resampling.BILINEAR)
    overlay = np.asarray(picture)  # [h, w, 3]
    for label in labels:
        colours = class_colours()[label.map] if isinstance(label, Classes) else by_distance(label.map_m)
        overlay = mixed(overlay, _small(colours, w, h))
    texts: list[tuple[str, tuple[int, int, int] | None]] = []
    for number, (mask, sentences) in enumerate(_masks(example)):
        colour = colour_of(number)
        if mask.any():
            covered = np.asarray(Image.fromarray(mask).resize((w, h), Image.Resampling.NEAREST))  # [h, w]
            overlay = np.where(covered[..., None], mixed(overlay, np.full_like(overlay, colour)), overlay)
        texts.append((" / ".join(sentences) + ("" if mask.any() else " (nothing in the picture)"), colour))
    if not texts:
        texts = [(sentence, None) for sentence in example.sentences[:REFS]]
    drawn = Image.fromarray(overlay)
    for number, box in enumerate(example.boxes_px):
        ImageDraw.Draw(drawn).rectangle([value * scale for value in box], outline=colour_of(number), width=2)
    return Drawing(example.key, jpeg(picture), jpeg(drawn), tuple(texts))


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of a class or a ref."""
    r, g, b = colorsys.hsv_to_rgb(_GOLDEN_TURN * number % 1, 0.8, 0.95)
    return round(r * 255), round(g * 255), round(b * 255)


@cache
def class_colours() -> np.ndarray:
    """uint8 [256, 3], by label value; 255, no class, is black."""
    return np.array([*(colour_of(number) for number in range(255)), (0, 0, 0)], np.uint8)


def by_distance(map_m: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]; the nearest and the farthest tenth of a thousandth do not stretch the scale."""
    measured = map_m[map_m > 0]
    if not measured.size:
        return np.zeros((*map_m.shape, 3), np.uint8)
    near, far = np.quantile(measured, (1e-4, 1 - 1e-4))
    place = np.clip((map_m - near) / max(far - near, 1e-9), 0, 1)
    hues = [colorsys.hsv_to_rgb(step / 255 * 0.67, 0.9, 1.0) for step in range(256)]
    colours = np.rint(np.array(hues) * 255).astype(np.uint8)[(place * 255).astype(np.uint8)]
    return np.where((map_m > 0)[..., None], colours, 0).astype(np.uint8)


def _masks(example: Example) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """(mask uint8 [H, W], sentences) of some refs, the largest first, so that it does not hide the others. Refs of one
    mask are one, since two colours could not be told apart there."""
    pairs = zip(example.meta.get("refs", ()), example.items, strict=False)
    found: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
    for ref, (first, count) in pairs:
        if not isinstance(ref, dict) or "rle" not in ref or len(found) == REFS:
            continue
        key = repr(ref["rle"])
        mask, sentences = found[key] if key in found else (decode_mask(ref["rle"]).astype(np.uint8), ())
        found[key] = (mask, (*sentences, *example.sentences[first : first + count]))
    return sorted(found.values(), key=lambda pair: -int(pair[0].sum()))


def _small(colours: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.asarray(Image.fromarray(colours).resize((w, h), Image.Resampling.NEAREST))


def mixed(under: np.ndarray, over: np.ndarray) -> np.ndarray:
    """One laid over the other, both uint8 [h, w, 3]."""
    return ((2 * under.astype(np.uint16) + 3 * over.astype(np.uint16)) // 5).astype(np.uint8)


def jpeg(picture: Image.Image) -> bytes:
    """Of the quality of drawings."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
