"""The picture of the loaders: what it shows of the figures that are kept."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.stream_plot import plot, points

ROOT = Path(__file__).resolve().parent.parent.parent


def kept() -> dict:
    return json.loads((ROOT / "benchmarks/results/stream.json").read_text())


def test_readers_that_failed_or_had_workers_are_no_points() -> None:
    def row(reader: str, workers: int, **more: object) -> dict[str, object]:
        return {"reader": reader, "workers": workers, **more}

    rows = [
        row("slow", 0, cpu_us_a_sample=9.0, flipped="handed out"),
        row("broken", 0, error="no such module"),
        row("quick", 0, cpu_us_a_sample=3.0, flipped="CorruptShard"),
        row("quick", 1, cpu_us_a_sample=5.0),
    ]
    assert points({"rows": rows}) == [("quick", 3.0, True), ("slow", 9.0, False)]


def test_the_page_shows_the_figures_that_are_kept() -> None:
    texts = [
        {part.text for part in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
        for svg in (plot(kept()), (ROOT / "docs/pictures/stream.svg").read_text(encoding="utf-8"))
    ]
    assert texts[0] == texts[1], "python -m benchmarks.stream_plot draws it again"
    assert {"ours", "webdataset", f"{points(kept())[0][1]:.0f}"} <= texts[0]
