"""Carries a View out on images, and turns rendered images into encoder pixels.

Owns the order of the steps: CutDepth strips on the source picture, box, resize, window, flip, colour, enlarging.
Leaves the colour arithmetic to `pipeline.rendering.colour` and the strips to `pipeline.rendering.cut_depth`.

Images are uint8 RGB [H, W, 3]; the conventions of sizes and boxes, and the cutting of labels, are
`shards.geometry.view`'s. Resizing is Pillow's own, because the published refer pipeline calls torchvision's Resize on
PIL images, which is exactly `Image.resize(..., BILINEAR)` with its antialiasing; other libraries differ by up to 12
levels (docs/methods/performance.md#decoding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from pipeline.example import FloatBox, size_of
from pipeline.rendering import colour, cut_depth
from shards.errors import ConfigError
from shards.geometry.view import Size, View, check_inside

_PIL_KERNELS = {
    "pil_bilinear": Image.Resampling.BILINEAR,
    "pil_bicubic": Image.Resampling.BICUBIC,
    "pil_nearest": Image.Resampling.NEAREST,
}


def render(
    image: np.ndarray | Image.Image, view: View, labels: Mapping[str, np.ndarray | bytes] | None = None
) -> np.ndarray:
    """Image uint8 [H, W, 3], or of Pillow's mode RGB -> what the view shows of it, without padding: uint8 [h, w, 3],
    C-contiguous.

    `labels` are the example's, at full size; only views with a CutDepth strip look at them.

    Raises Reject when the view's box does not lie inside the image, ConfigError for a colour step that does not exist
    or lacks its label.
    """
    check_inside(size_of(image), view)
    strips, steps = cut_depth.split(view.colour)
    if strips:
        image = cut_depth.paste(np.asarray(image), strips, labels or {})
    picture = resized(_cut(image, view.box_px), view.resized_px, _PIL_KERNELS[view.kernel])
    shown = np.asarray(_cut(picture, view.window_px))  # [h, w, 3]
    if view.flip:
        shown = shown[:, ::-1]
    shown = np.ascontiguousarray(colour.apply(shown, steps))
    if view.enlarged_px is not None:
        shown = np.asarray(resized(Image.fromarray(shown), view.enlarged_px, Image.Resampling.BILINEAR))
    return shown


def _cut(image: np.ndarray | Image.Image, box_px: tuple[int, int, int, int]) -> Image.Image:
    """A part of a picture; the picture itself, not copied, where that is all of it."""
    x0, y0, x1, y1 = box_px
    if isinstance(image, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    return image if (x0, y0, x1, y1) == (0, 0, *image.size) else image.crop((x0, y0, x1, y1))


def resized(picture: Image.Image, size_px: tuple[int, int], kernel: Image.Resampling) -> Image.Image:
    """Resize along the rows, then along the columns.

    Up to release 12 Pillow does so itself; 13 takes the cheaper order first, and its rounding in between then moves
    pixels by one level. Two calls give the published bytes with either. A side that stays is not resized at all, as in
    Pillow, which copies.
    """
    height, width = size_px
    if width != picture.width:
        picture = picture.resize((width, picture.height), kernel)
    return picture if height == picture.height else picture.resize((width, height), kernel)


def box_inside(box_xywh_px: Sequence[float], height: int, width: int) -> FloatBox:
    """The part (x0, y0, x1, y1) of a box (x, y, width, height) that lies inside a picture; x0 >= x1 or y0 >= y1 where
    there is none."""
    x, y, w, h = box_xywh_px
    return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))


def place_on(canvas_px: Size, image: np.ndarray, corner_px: Size) -> tuple[int, int, int, int]:
    """(y0, x0, y1, x1) of an image whose first pixel lies at `corner_px` (rows, columns). ConfigError: it reaches
    beyond the canvas."""
    (top, left), (h, w), (height, width) = corner_px, image.shape[:2], canvas_px
    if top + h > height or left + w > width:
        raise ConfigError(
            f"an image of {h} x {w} pixels does not fit the canvas of {height} x {width} at {(top, left)}"
        )
    return top, left, top + h, left + w


def to_pixels(
    images: Sequence[np.ndarray],
    canvas_px: Size,
    out: np.ndarray | None = None,
    pad_before_px: Sequence[Size] | None = None,
) -> np.ndarray:
    """Rendered images, uint8 [h, w, 3] each -> encoder pixels float32 [B, 3, H, W] in [-1, 1].

    The arithmetic is that of ToTensor followed by Normalize(0.5, 0.5), in float32 and in the same order. An image
    smaller than the canvas lies in its top-left corner, or `pad_before_px` (rows, columns) away from it; the rest is
    0 *after* normalising, which is mid grey. `out`, when given, holds at least B images; its rows beyond B are left
    alone.
    """
    height, width = canvas_px
    if out is None:
        out = np.empty((len(images), 3, height, width), np.float32)
    corners = pad_before_px or [(0, 0)] * len(images)
    for target, image, corner in zip(out, images, corners, strict=False):  # [3, H, W], [h, w, 3]
        y0, x0, y1, x1 = place_on(canvas_px, image, corner)
        if (y0, x0, y1, x1) != (0, 0, height, width):
            target[:] = 0.0
        content = target[:, y0:y1, x0:x1]
        np.divide(image.transpose(2, 0, 1), np.float32(255), out=content, dtype=np.float32)
        content -= np.float32(0.5)
        content /= np.float32(0.5)
    return out
