"""The same place in another picture: nearest neighbours between feature maps, and the share that is right (PCK).

Owns the rule of DIFT's SPair-71k evaluation (Tang et al., 2023): both maps are enlarged to their pictures' own sizes,
bilinear; a point goes to the pixel whose feature has the highest cosine with its own; it is right if it lies within a
share of the longer side of the object's box, that distance included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from shards.errors import ConfigError

ALPHA = 0.1


def matches(
    source: torch.Tensor,
    target: torch.Tensor,
    points_px: torch.Tensor,
    source_px: tuple[int, int],
    target_px: tuple[int, int],
) -> torch.Tensor:
    """Where points of one picture are in another, int64 `[K, 2]`, (x, y) in pixels.

    Args:
        source, target: feature maps `[C, h, w]` of both pictures.
        points_px: int `[K, 2]`, (x, y) in the source's picture.
        source_px, target_px: (height, width) of the pictures.

    Raises:
        ConfigError: a point outside the picture, or maps of different channels.
    """
    if len(source) != len(target):
        raise ConfigError(f"feature maps of {len(source)} and {len(target)} channels cannot be compared.")
    x, y = points_px.long().unbind(-1)
    height, width = source_px
    if ((x < 0) | (x >= width) | (y < 0) | (y >= height)).any():
        raise ConfigError(f"a point lies outside its picture of {height} x {width} pixels: {points_px.tolist()}.")
    sought = F.normalize(_enlarged(source, source_px)[:, y, x], dim=0)  # [C, K]
    places = F.normalize(_enlarged(target, target_px).flatten(1), dim=0)  # [C, H W]
    best = (sought.T @ places).argmax(1)  # [K]
    return torch.stack([best % target_px[1], best // target_px[1]], dim=1)


def are_right(
    found_px: torch.Tensor, expected_px: torch.Tensor, box_px: tuple[float, float, float, float], alpha: float = ALPHA
) -> torch.Tensor:
    """Bool `[K]`: whether matches `[K, 2]` lie within `alpha` of the longer side of the target's box (x0, y0, x1, y1).
    The mean over a pair, then over pairs, is PCK per image; over all points, per point."""
    x0, y0, x1, y1 = box_px
    away_px = (found_px.double() - expected_px.double()).norm(dim=-1)
    return away_px / max(x1 - x0, y1 - y0) <= alpha


def _enlarged(features: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(features[None].float(), size_px, mode="bilinear", align_corners=False)[0]
