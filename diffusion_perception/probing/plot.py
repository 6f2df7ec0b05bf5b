"""The table of a sweep as a picture, SVG: a score over the layers, a line for each timestep, prompt,
probe and bake.

Owns what a line is called: by what differs among them. How SVG is drawn is `diffusion_perception.figures`'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusion_perception import figures
from diffusion_perception.probing.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_LAYER_IN, LEAST_IN, HEIGHT_IN = 0.7, 5.0, 3.6


def drawn(rows: Sequence[Row], score: str) -> bytes:
    """The picture; a layer without the score has no point."""
    layers = list(dict.fromkeys(row.layer for row in rows))
    lines: dict[str, dict[str, float]] = {}
    for row, name in zip(rows, _names(rows), strict=True):
        lines.setdefault(name, {})[row.layer] = row.scores.get(score, math.nan)

    def draw(axes: Axes) -> None:
        for name, found in lines.items():
            axes.plot(range(len(layers)), [found.get(layer, math.nan) for layer in layers], marker="o", label=name)
        axes.set_xticks(range(len(layers)), layers, rotation=30, ha="right")
        axes.set_ylabel(score)

    return figures.drawn(draw, (max(PER_LAYER_IN * len(layers), LEAST_IN), HEIGHT_IN), score).encode()


def _names(rows: Sequence[Row]) -> list[str]:
    """Of the line that each row is on."""
    parts = [(f"t = {row.timestep:g}", repr(row.prompt), row.probe, row.features) for row in rows]
    differ = [len({part[place] for part in parts}) > 1 for place in range(4)]
    return [", ".join(said for said, told in zip(part, differ, strict=True) if told) or part[2] for part in parts]
