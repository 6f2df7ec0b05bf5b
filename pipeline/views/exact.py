"""One view per image: the whole image squashed to a fixed size, aspect ignored.

For size 512 this is the published referring-segmentation preprocessing, bit for bit, in training and evaluation
alike: PIL bilinear to 512 x 512, no crop, no flip, no colour (docs/methods/refer.md#preprocessing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shards.errors import ConfigError
from shards.geometry.view import Size, View


@dataclass(frozen=True)
class Exact:
    size_px: Size
    kernel: str = "pil_bilinear"

    @property
    def views_per_image(self) -> int:
        return 1

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        h, w = self.size_px
        return [View(self.size_px, (0, 0, width, height), self.size_px, (0, 0, w, h), kernel=self.kernel)]

    def identity(self) -> dict[str, Any]:
        return {"plan": "exact", "size_px": list(self.size_px), "kernel": self.kernel}


def build(size: int | tuple[int, int] | list[int] = 512, kernel: str = "pil_bilinear") -> Exact:
    """The plan.

    Args:
        size: one number for a square, or (h, w), in pixels.
        kernel: how a picture is resized; one of `KERNELS` of `shards.geometry.view`.

    Raises:
        ConfigError: another size, or no such kernel.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ConfigError(f"views exact: size is {size!r}, expected pixels as one number or [h, w]")
    plan = Exact((sides[0], sides[1]), kernel)
    plan.views("", *plan.size_px)  # a wrong kernel name is found here, not in the middle of a build
    return plan
