"""Numbers over steps as pictures that a page carries within itself: SVG by matplotlib, an extra (`report`).

The same numbers give the same bytes. Texts stay texts, in the page's own font.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import islice
from statistics import fmean

from shards.errors import ConfigError

POINTS = 400  # of a curve; a longer one is drawn as means of its neighbours
SIZE_IN = (5.4, 3.0)
Curve = tuple[tuple[int, float], ...]  # (step, value), of finite values


def check_installed() -> None:
    """ConfigError without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "curves are drawn by matplotlib, which is missing: pip install 'diffusion-perception[report]'."
        ) from error


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
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = {name: thinned(curve) for name, curve in curves.items() if curve}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        axes = figure.subplots()
        for name, curve in shown.items():
            steps, values = zip(*curve, strict=True)
            axes.plot(steps, values, marker="." if len(curve) < 30 else "", linewidth=1.2, label=name)
        if logarithmic and all(value > 0 for curve in shown.values() for _, value in curve):
            axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(shown) > 1:
            axes.legend(frameon=False)
        held = io.StringIO()
        figure.savefig(held, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = held.getvalue()
    return svg[svg.index("<svg") :]
