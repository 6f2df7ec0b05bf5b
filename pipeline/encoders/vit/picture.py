"""From a view's pixels to what a vision transformer is shown, as ECoDepth does it (docs/methods/depth.md#ecodepth).

A view in [-1, 1], its padding included, becomes levels 0 to 255 without a fraction, is padded with 0 below or to the
right to a square, resized to levels as the model's own `preprocessor_config.json` says, scaled and normalised. Resizing
is Pillow's, which transformers uses: smoothed where a square shrinks, rows before columns, rounded behind each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from shards.errors import ConfigError

FILE = "preprocessor_config.json"
_KERNELS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_EXACT = 1e-3  # of a level: a whole level comes back from [-1, 1] a little too low in float32
_HALF = 1e-4  # of a level: a half is rounded up, also where sums in float32 miss it


@dataclass(frozen=True)
class Preparation:
    """How a square of levels becomes the model's input. The defaults are those of transformers' ViTImageProcessor.

    Attributes:
        size_px: (h, w) of the input.
        kernel: of the resizing, bilinear or bicubic.
        scale: on levels.
        mean, std: by channel, taken off scaled levels and divided by.
    """

    size_px: tuple[int, int]
    kernel: str = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Views float32 [B, 3, H, W] in [-1, 1] -> float32 [B, 3, h, w]."""
        levels = (255 * ((pixels + 1) / 2) + _EXACT).floor()  # 127 where a view is padded
        height, width = levels.shape[-2:]
        side = max(height, width)
        square = F.pad(levels, (0, side - width, 0, side - height))  # black
        for size_px in ((side, self.size_px[1]), self.size_px):
            if tuple(square.shape[-2:]) != size_px:
                square = F.interpolate(square, size_px, mode=self.kernel, antialias=True)
                square = (square + (0.5 + _HALF)).floor().clamp(0, 255)
        mean, std = (square.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (square * self.scale - mean) / std

    def to_json(self) -> dict[str, Any]:
        """For a fingerprint."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def preparation_of(said: Mapping[str, Any], image_px: int, model: str) -> Preparation:
    """What a model's own file says, and where it says nothing, transformers' defaults.

    Args:
        said: content of `FILE`; empty where the model has none.
        image_px: side that the network was made for.

    Raises:
        ConfigError: a step that is not one of these, or an input of another size than the network's.
    """
    refuse = f"vit: the {FILE} of {model!r} says "
    if not said.get("do_resize", True):
        raise ConfigError(f"{refuse}do_resize = false; views are of any size, and the network takes one")
    if said.get("do_center_crop"):
        raise ConfigError(f"{refuse}do_center_crop; only resizing the whole square to the model's input is done here")
    resample = said.get("resample", 2)
    if resample not in _KERNELS:
        raise ConfigError(f"{refuse}resample = {resample!r}, expected 2 (bilinear) or 3 (bicubic)")
    size_px = (image_px, image_px)
    if _size(said.get("size", image_px)) != size_px:
        raise ConfigError(f"{refuse}size = {said['size']!r}, and the network takes {image_px} x {image_px} pixels")
    plain = not said.get("do_normalize", True)
    return Preparation(
        size_px,
        _KERNELS[resample],
        float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
        (0.0,) * 3 if plain else _channels(said, "image_mean", refuse),
        (1.0,) * 3 if plain else _channels(said, "image_std", refuse),
    )


def _size(size: Any) -> tuple[Any, Any]:
    """(h, w), as older and newer versions of transformers write it."""
    if isinstance(size, Mapping):
        return size.get("height"), size.get("width")
    return size, size


def _channels(said: Mapping[str, Any], name: str, refuse: str) -> tuple[float, ...]:
    values = said.get(name, (0.5, 0.5, 0.5))
    if not isinstance(values, list | tuple) or len(values) != 3 or (name == "image_std" and 0 in values):
        raise ConfigError(f"{refuse}{name} = {values!r}, expected a number for each of three channels")
    return tuple(float(value) for value in values)
