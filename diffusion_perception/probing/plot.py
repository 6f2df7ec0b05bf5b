"""The table of a sweep as a picture, SVG by matplotlib, an extra (`report`): a score over the layers, a line for each
timestep, prompt and probe.

Owns what a line is called: by what differs among them. The same rows give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from diffusion_perception.probing.table import Row

PER_LAYER_IN, LEAST_IN, HEIGHT_IN = 0.7, 5.0, 3.6


def is_installed() -> bool:
    """Whether matplotlib is here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def drawn(rows: Sequence[Row], score: str) -> bytes:
    """The picture; a layer without the score has no point."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    layers = list(dict.fromkeys(row.layer for row in rows))
    lines: dict[str, dict[str, float]] = {}
    for row, name in zip(rows, _names(rows), strict=True):
        lines.setdefault(name, {})[row.layer] = row.scores.get(score, math.nan)
    plain = rc_context({"text.parse_math": False})  # a prompt may hold two dollars
    with plain, rc_context({"svg.fonttype": "none", "svg.hashsalt": score, "font.size": 9}):
        figure = Figure(figsize=(max(PER_LAYER_IN * len(layers), LEAST_IN), HEIGHT_IN), layout="constrained")
        axes = figure.subplots()
        for name, found in lines.items():
            axes.plot(range(len(layers)), [found.get(layer, math.nan) for layer in layers], marker="o", label=name)
        axes.set_xticks(range(len(layers)), layers, rotation=30, ha="right")
        axes.set_ylabel(score)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes.legend(frameon=False)
        held = io.BytesIO()
        figure.savefig(held, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return held.getvalue()


def _names(rows: Sequence[Row]) -> list[str]:
    """Of the line that each row is on."""
    parts = [(f"t = {row.timestep:g}", repr(row.prompt), row.probe) for row in rows]
    differ = [len({part[place] for part in parts}) > 1 for place in range(3)]
    return [", ".join(said for said, told in zip(part, differ, strict=True) if told) or part[2] for part in parts]
