"""Figures as SVG by matplotlib, an extra (`report`): for the pages of `report` and the tables of `probe`.

Owns what both share: whether matplotlib is here, and how it is set: the same numbers give the same bytes, texts stay
texts in the page's own font, and a name with two dollars in it is no formula. What is drawn is the caller's.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from shards.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METADATA = ("Date", "Creator", "Format", "Type")  # left out: they would differ, or name another site


def is_installed() -> bool:
    """Whether matplotlib is here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def check_installed() -> None:
    """ConfigError without matplotlib."""
    if not is_installed():
        raise ConfigError(
            "curves are drawn by matplotlib, which is missing: pip install 'diffusion-perception[report]'."
        )


def drawn(draw: Callable[[Axes], None], size_in: tuple[float, float], salt: str) -> str:
    """One diagram as the text of an SVG file.

    Args:
        draw: puts it on axes; a legend is added where several lines have names.
        size_in: (width, height) in inches.
        salt: makes the names inside the picture its own, so that a page may hold several.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    texts = rc_context({"text.parse_math": False, "font.size": 9, "axes.titlesize": 10})
    with texts, rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure = Figure(figsize=size_in, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(axes.lines) > 1:
            axes.legend(frameon=False)
        held = io.StringIO()
        figure.savefig(held, format="svg", metadata=dict.fromkeys(METADATA))
    return held.getvalue()


def logarithmic(axes: Axes) -> None:
    """Make the values' axis logarithmic; its numbers are plain text, as matplotlib's own are formulas."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
