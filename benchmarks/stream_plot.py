"""The figures of benchmarks/stream.py as a picture.

    python -m benchmarks.stream_plot benchmarks/results/stream.json docs/pictures/stream.svg

A point a reader: processor time of a sample, read in the process of the loop, beside one memory copy of its tensors;
dark where a flipped byte is an error, light where it is handed out. Needs the extra `report`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_perception.figures import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTICED, HANDED_OUT = "#1f5f8b", "#9db4c6"
SIZE_IN = (7.2, 3.4)
SAYS = "processor time, µs a sample of 95 KB; dark: a flipped byte is an error, light: it is handed out"


def points(figures: dict[str, Any]) -> list[tuple[str, float, bool]]:
    """(reader, CPU microseconds a sample without workers, whether it noticed a flipped byte), the quickest first."""
    rows = [row for row in figures["rows"] if row["workers"] == 0 and "cpu_us_a_sample" in row]
    found = [(row["reader"], row["cpu_us_a_sample"], row["flipped"] != "handed out") for row in rows]
    return sorted(found, key=lambda point: point[1])


def plot(figures: dict[str, Any]) -> str:
    """The text of an SVG file."""
    shown, copied = points(figures), figures["memcpy_us"]

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([10, 100, 1000]))
        axes.xaxis.set_major_formatter(FixedFormatter(["10", "100", "1,000"]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(copied / 1.5, 2 * shown[-1][1])
        for place, (_, value, noticed) in enumerate(shown):
            axes.scatter(value, place, color=NOTICED if noticed else HANDED_OUT, s=60, zorder=2)
            axes.annotate(f"{value:.0f}", (value, place), (8, 0), textcoords="offset points", va="center", fontsize=8)
        axes.axvline(copied, color="black", linewidth=1, linestyle=":")
        axes.annotate(f" one memory copy: {copied:.0f}", (copied, -0.8), fontsize=8, va="center")
        axes.set_yticks(range(len(shown)), [name for name, _, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -1.2)
        axes.set_xlabel(
            "processor time, µs a sample of 95 KB; dark: a flipped byte is an error, light: it is handed out"
        )

    return drawn(draw, SIZE_IN, "stream")


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("figures", type=Path, help="of benchmarks.stream --out")
    parser.add_argument("picture", type=Path, help="an SVG file")
    options = parser.parse_args()
    options.picture.write_text(plot(json.loads(options.figures.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
