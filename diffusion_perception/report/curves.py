"""Numbers over steps as pictures that a page carries within itself: SVG, drawn by `diffusion_perception.figures`.

Owns how many points of a curve are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING

from diffusion_perception import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 400  # of a curve; a longer one is drawn as means of its neighbours
SIZE_IN = (5.4, 3.0)
Curve = tuple[tuple[int, float], ...]  # (step, value), of finite values


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """At most so many points: each the mean of as many neighbours, at the step of the last of them."""
    every = -(-len(curve) // points)
    if every <= 1:
        return curve
    rest, found = iter(curve), []
    while part := tuple(islice(rest, every)):
        found.append((part[-1][0], fmean(value for _, value in part)))
    return tuple(found)


def drawn(title: str, curves: Mapping[str, Curve], *, logarithmic: bool = False) -> str:
    """One picture with a line a run, as SVG for the body of a page.

    Args:
        title: what is drawn; also makes the names inside the picture its own, so that a page may hold several.
        curves: by the name of the run; empty ones are left out.
        logarithmic: the values' axis, where all of them are above 0.
    """
    shown = {name: thinned(curve) for name, curve in curves.items() if curve}

    def draw(axes: Axes) -> None:
        for name, curve in shown.items():
            steps, values = zip(*curve, strict=True)
            axes.plot(steps, values, marker="." if len(curve) < 30 else "", linewidth=1.2, label=name)
        if logarithmic and all(value > 0 for curve in shown.values() for _, value in curve):
            figures.logarithmic(axes)
        axes.set_title(title)
        axes.set_xlabel("step")

    svg = figures.drawn(draw, SIZE_IN, title)
    return svg[svg.index("<svg") :]
