"""Two encoders that are shown the same views, as one: what a build does with pixels, it does once.

Private to `diffusion_perception.building.builder`. Each keeps its own fingerprint, which the recipe has apart
(`pipeline.building.recipe`); this one's is the image encoder's, so that a set without a second encoder stays as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.encoders import ImageEncoder, LevelEncoder, Levels
from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.geometry.view import Size


class Beside:
    """An `ImageEncoder` whose fields are those of both."""

    def __init__(self, image: ImageEncoder, vision: ImageEncoder) -> None:
        self._parts = (image, vision)
        self.fingerprint: dict[str, Any] = image.fingerprint

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """The image encoder's first. ConfigError: a name that both have, or what either refuses."""
        first, second = (part.fields(size_px) for part in self._parts)
        if shared := {field.name for field in first} & {field.name for field in second}:
            names = " and ".join(str(part.fingerprint.get("encoder")) for part in self._parts)
            raise ConfigError(f"{names} both store the field {min(shared)!r}; a set has a field once. Choose others")
        return first + second

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._parts[0].allocate(shape)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        image, vision = self._parts
        return {**image.encode(pixels), **vision.encode(pixels)}


class BesideLevels(Beside):
    """A `LevelEncoder`, of two that are."""

    def __init__(self, image: LevelEncoder, vision: LevelEncoder) -> None:
        super().__init__(image, vision)
        self._levels = (image, vision)

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._levels[0].allocate_levels(shape)

    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        image, vision = self._levels
        return {**image.encode_levels(levels), **vision.encode_levels(levels)}


def beside(image: ImageEncoder, vision: ImageEncoder | None) -> ImageEncoder:
    """The image encoder, with the other one if there is one."""
    if vision is None:
        return image
    if isinstance(image, LevelEncoder) and isinstance(vision, LevelEncoder):
        return BesideLevels(image, vision)
    return Beside(image, vision)
