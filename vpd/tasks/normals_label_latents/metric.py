"""The angles between predicted and known normals: mean, median, and shares below the angles that the field names.

Owns the sums: angles of the pixels of all pictures, counted in steps of a hundredth of a degree, so that the median of
several workers' pixels is the median of all (docs/methods/label_latents.md#scores-of-normals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from shards.errors import SchemaMismatch
from vpd.tasks.metric import added

STEPS = 100  # of a degree
SHARES = (11.25, 22.5, 30.0)  # degrees
_SUMS = 4  # pictures, scored ones, degrees, degrees squared; then pixels by angle


def degrees_between(predicted: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Angles `[N]` in degrees, float64, of vectors `[3, N]`, of which none is zero. Both lengths are divided out."""
    predicted, known = predicted.double(), known.double()
    across = torch.linalg.cross(predicted, known, dim=0).norm(dim=0)
    # an arc cosine has no digits left for small angles
    return torch.atan2(across, (predicted * known).sum(dim=0)).rad2deg()


class NormalsMetric:
    """Sums over pictures.

    Args:
        state: float64 `[4 + 180 * STEPS + 1]`, of another metric; None: empty.
    """

    counts_on_device = False

    def __init__(self, state: torch.Tensor | None = None) -> None:
        self.state = torch.zeros(_SUMS + 180 * STEPS + 1, dtype=torch.float64) if state is None else state

    def update(self, predicted: torch.Tensor, known: torch.Tensor) -> None:
        """Count one picture, both `[3, H, W]`; zero vectors of `known` do not count. A prediction that is no number, or
        no direction, is 90 degrees off, what a guess is; a picture without one that is makes all scores nan.

        Raises:
            SchemaMismatch: sizes differ.
        """
        if predicted.shape != known.shape:
            raise SchemaMismatch(f"a prediction of {list(predicted.shape)} for normals of {list(known.shape)}.")
        self.state[0] += 1
        counted = known.any(dim=0)  # [H, W]
        if not counted.any():
            return
        self.state[1] += 1
        found, target = predicted.cpu()[:, counted].double(), known[:, counted]
        usable = found.isfinite().all(dim=0) & found.any(dim=0)
        degrees = torch.full((found.shape[1],), 90.0, dtype=torch.float64)
        degrees[usable] = degrees_between(found[:, usable], target[:, usable])
        self.state[2] += degrees.sum() if usable.any() else math.nan
        self.state[3] += degrees.square().sum()
        self.state[_SUMS:] += torch.bincount((degrees * STEPS).long(), minlength=180 * STEPS + 1)

    def joined(self, states: Sequence[torch.Tensor]) -> NormalsMetric:
        """The same scores over the sum of several states."""
        return NormalsMetric(added(states))

    @property
    def count(self) -> int:
        """Pictures so far."""
        return int(self.state[0].item())

    def compute(self) -> dict[str, float]:
        """Degrees, and shares from 0 to 1; all nan before the first counted pixel, or after a broken picture."""
        degrees, squares, pixels = float(self.state[2]), float(self.state[3]), self.state[_SUMS:]
        total = float(pixels.sum())
        names = ["mean_deg", "median_deg", "rmse_deg", *(f"below_{limit:g}" for limit in SHARES)]
        if not total or math.isnan(degrees):
            return dict.fromkeys(names, math.nan)
        below = pixels.cumsum(dim=0)
        half = int(torch.searchsorted(below, total / 2))
        before = float(below[half - 1]) if half else 0.0
        median = (half + (total / 2 - before) / float(pixels[half])) / STEPS  # even within the step
        shares = [float(below[round(limit * STEPS) - 1]) / total for limit in SHARES]
        return dict(zip(names, [degrees / total, median, math.sqrt(squares / total), *shares], strict=True))
