"""Points of a picture in a recorded view, and back: where `shards.geometry.view.View` puts what it shows.

Owns the one affine map that a view is, for labels and predictions that are points instead of pixels. Both directions
follow the steps of the view exactly: box, resize, window, flip, enlarging, padding.

A point is (x, y), x to the right and y down, in pixels, and (0, 0) is the CENTRE of the top-left pixel, of a picture as
of a view: COCO's keypoints name pixels. Edges, as of boxes, lie half a pixel off: a picture of W columns spans -0.5 to
W - 0.5. A resize maps edges onto edges, as Pillow's does, so that a dot of a picture is found where its image is.
"""

from __future__ import annotations

import numpy as np

from shards.geometry.view import Size, View


def to_view(points_px: np.ndarray, view: View) -> np.ndarray:
    """Points of the source picture, float [..., 2], as points of the view, float64 [..., 2]; some may lie outside."""
    scale, shift = _affine(view)
    return np.asarray(points_px, np.float64) * scale + shift


def to_source(points_px: np.ndarray, view: View) -> np.ndarray:
    """Points of the view, float [..., 2], as points of the source picture, float64 [..., 2]; inverse of `to_view`."""
    scale, shift = _affine(view)
    return (np.asarray(points_px, np.float64) - shift) / scale


def rescaled(points_px: np.ndarray, from_px: Size, to_px: Size) -> np.ndarray:
    """Points of a grid of one size (h, w) as points of a grid of another size that shows the same, float64 [..., 2]."""
    scale = np.array([to_px[1] / from_px[1], to_px[0] / from_px[0]])
    return (np.asarray(points_px, np.float64) + 0.5) * scale - 0.5


def _affine(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift, [2] each, from a source point to a point of the view."""
    (x0, y0, x1, y1), (height, width) = view.box_px, view.resized_px
    scale = np.array([width / (x1 - x0), height / (y1 - y0)])
    shift = (0.5 - np.array([x0, y0])) * scale  # centres to edges, then onto the resized box
    shift -= np.array(view.window_px[:2])
    (window_h, window_w), (shown_h, shown_w) = view.content_px, view.shown_px
    if view.flip:
        scale[0], shift[0] = -scale[0], window_w - shift[0]
    enlarging = np.array([shown_w / window_w, shown_h / window_h])
    top, left = view.pad_before_px
    return scale * enlarging, shift * enlarging + np.array([left, top]) - 0.5
