"""A view plan: the left and the right half of every picture, each squashed to a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shards.errors import ConfigError
from shards.geometry.view import Size, View


@dataclass(frozen=True)
class Halves:
    size_px: Size  # of every view: batches of the encoder have one shape
    views_per_image: int = 2

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """Boxes are of the picture, windows of what a box was resized to; here a window is all of it."""
        middle, (h, w) = width // 2, self.size_px
        boxes = (0, 0, middle, height), (middle, 0, width, height)
        return [View(self.size_px, box, self.size_px, (0, 0, w, h)) for box in boxes]

    def identity(self) -> dict[str, Any]:
        """What determines the views, for the recipe of the set."""
        return {"plan": "halves", "size_px": list(self.size_px)}


def build(size: int = 512) -> Halves:
    """`size`: the side of a view in pixels."""
    if size < 1:
        raise ConfigError(f"views halves: size is {size}, expected pixels.")
    return Halves((size, size))
