"""Heat maps of keypoints: what a network is asked for, and reading points out of what it answers.

Owns the conventions of top-down pose estimation as in mmpose's simple baselines, which ViTPose uses too: maps at a
quarter of the view, a Gaussian of sigma 2 map pixels, a quarter of a pixel of correction when they are read, and
left and right exchanged in a mirror image. Where a view lies in its picture is `shards.geometry.points`'.

Points are (x, y) with (0, 0) at the centre of the top-left pixel. A Gaussian stands at the point itself, not at the
pixel next to it as mmpose's default encoder rounds it, so that nothing is shifted between a view and its mirror image.
"""

from __future__ import annotations

import numpy as np
import torch

from shards.geometry.points import rescaled
from shards.geometry.view import Size
from vpd.tasks.pose.skeleton import MIRRORED

STRIDE_PX = 4  # view pixels per map pixel
QUARTER = 0.25  # correction of a maximum, towards the higher of its neighbours
MIRROR = list(MIRRORED)


def map_size(view_px: Size) -> Size:
    """(h, w) of the maps of a view."""
    return view_px[0] // STRIDE_PX, view_px[1] // STRIDE_PX


def target_maps(points_px: np.ndarray, labelled: np.ndarray, view_px: Size, sigma: float) -> tuple[np.ndarray, ...]:
    """What the network should answer for one view.

    Args:
        points_px: `[K, 2]` in pixels of the view.
        labelled: bool `[K]`.
        view_px: (h, w) of the view.
        sigma: of the Gaussian, in pixels of a map.

    Returns:
        Maps, float32 `[K, h, w]`, 1 at a keypoint, and weights, float32 `[K]`: 0 for a keypoint that is not labelled or
        lies outside the view, whose map is all 0.
    """
    height, width = map_size(view_px)
    x, y = np.moveaxis(rescaled(points_px, view_px, (height, width)), -1, 0)  # [K] each
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    weights = (labelled & inside).astype(np.float32)
    across = np.exp(-((np.arange(width) - x[:, None]) ** 2) / (2 * sigma**2))  # [K, w]
    down = np.exp(-((np.arange(height) - y[:, None]) ** 2) / (2 * sigma**2))  # [K, h]
    maps = down[:, :, None] * across[:, None, :] * weights[:, None, None]
    return maps.astype(np.float32), weights


def unflipped(maps: torch.Tensor) -> torch.Tensor:
    """Maps `[..., K, h, w]` of a mirror image as maps of the image: columns reversed, left and right exchanged."""
    return maps.flip(-1)[..., MIRROR, :, :]


def read_points(maps: torch.Tensor, view_px: Size) -> tuple[np.ndarray, np.ndarray]:
    """The keypoints that maps say.

    Args:
        maps: `[K, h, w]`.
        view_px: (h, w) of the view.

    Returns:
        Points, float64 `[K, 2]` in pixels of the view, and scores, float64 `[K]`: the maxima of the maps.
    """
    found = maps.detach().double().cpu().numpy()  # [K, h, w]
    count, height, width = found.shape
    best = found.reshape(count, -1).argmax(axis=1)
    row, column = np.divmod(best, width)
    keypoint = np.arange(count)
    padded = np.pad(found, ((0, 0), (1, 1), (1, 1)), mode="edge")  # beyond an edge the map goes on as it is there
    right, left = padded[keypoint, row + 1, column + 2], padded[keypoint, row + 1, column]
    below, above = padded[keypoint, row + 2, column + 1], padded[keypoint, row, column + 1]
    x = column + QUARTER * np.where((column > 0) & (column < width - 1), np.sign(right - left), 0)
    y = row + QUARTER * np.where((row > 0) & (row < height - 1), np.sign(below - above), 0)
    points = rescaled(np.stack([x, y], axis=-1), (height, width), view_px)
    return points, found[keypoint, row, column]
