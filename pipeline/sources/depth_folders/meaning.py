"""What the numbers of depth files mean, as declared: unit, missing values, range, bit order, and the kind of distance.

Owns the arithmetic from a file's numbers to metres along the optical axis, 0 = no measurement. Reading the file is
`pipeline.files.depth_values`', comparing it with the declaration `survey`'s.

Shapes: H, W = size of the depth map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.errors import ConfigError, Reject

BITS = ("plain", "sun_rgbd")
DISTANCES = ("axis", "ray", "disparity")
WHERE = "source depth_folders"


@dataclass(frozen=True)
class Meaning:
    """See `pipeline.sources.depth_folders.build` for the options.

    Raises:
        ConfigError: a value that is none of the choices, an empty range, or a distance without its calibration.
    """

    units_per_metre: float
    max_depth_m: float
    min_depth_m: float = 0.0
    invalid: tuple[float, ...] = (0.0,)
    bits: str = "plain"
    distance: str = "axis"
    focal_px: float = 0.0
    baseline_m: float = 0.0
    doffs_px: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("bits", BITS), ("distance", DISTANCES)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{WHERE}: {name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        if not self.units_per_metre > 0:
            raise ConfigError(
                f"{WHERE}: units_per_metre is {self.units_per_metre}; expected 1 for metres, 1000 for millimetres, "
                "5000 (TUM), 4000 (Matterport3D), 256 (KITTI)"
            )
        if not 0 <= self.min_depth_m < self.max_depth_m:
            raise ConfigError(
                f"{WHERE}: min_depth_m {self.min_depth_m}, max_depth_m {self.max_depth_m}; expected 0 <= min < max"
            )
        needed = {"axis": (), "ray": ("focal_px",), "disparity": ("focal_px", "baseline_m")}[self.distance]
        if missing := [name for name in needed if not getattr(self, name) > 0]:
            raise ConfigError(
                f"{WHERE}: distance {self.distance} needs {' and '.join(needed)}; {missing[0]} is "
                f"{getattr(self, missing[0])}. Without calibration it is no depth in metres"
            )

    def metres(self, values: np.ndarray, where: str) -> np.ndarray:
        """Numbers [H, W] of a file as metres float32 [H, W], 0 where there is no measurement or it is out of range."""
        depth_m, valid = self.unlimited(values, where)
        valid &= (depth_m >= self.min_depth_m) & (depth_m <= self.max_depth_m)
        return np.where(valid, depth_m, 0).astype(np.float32)

    def unlimited(self, values: np.ndarray, where: str, units_per_metre: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(metres float64 [H, W], where they are measurements), before the declared range.

        Args:
            units_per_metre: in place of the declared ones.
        """
        if self.bits == "sun_rgbd":
            values = rotated(values, where)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            numbers = values.astype(np.float64)
            valid = np.isfinite(numbers) & (numbers > 0)
            for value in self.invalid:
                valid &= numbers != value
            depth_m = self._along_axis(numbers / (units_per_metre or self.units_per_metre))
        valid &= np.isfinite(depth_m) & (depth_m > 0)
        return np.where(valid, depth_m, 0.0), valid

    def _along_axis(self, distance: np.ndarray) -> np.ndarray:
        if self.distance == "disparity":
            return self.baseline_m * self.focal_px / (distance + self.doffs_px)
        if self.distance == "ray":
            height, width = distance.shape
            y = np.linspace(-0.5 * height + 0.5, 0.5 * height - 0.5, height)[:, None]
            x = np.linspace(-0.5 * width + 0.5, 0.5 * width - 0.5, width)
            return distance * self.focal_px / np.sqrt(x**2 + y**2 + self.focal_px**2)
        return distance


def rotated(values: np.ndarray, where: str) -> np.ndarray:
    """SUN RGB-D's files: 16-bit numbers whose three lowest bits stand at the top."""
    if values.dtype != np.uint16:
        raise Reject(f"{where}: bits sun_rgbd are of 16-bit files, this one is {values.dtype}")
    return values >> np.uint16(3) | values << np.uint16(13)


def invalid_values(invalid: float | Sequence[float]) -> tuple[float, ...]:
    return (float(invalid),) if isinstance(invalid, int | float) else tuple(map(float, invalid))
