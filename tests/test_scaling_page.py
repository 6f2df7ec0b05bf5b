"""docs/scaling.md: its rates are measured ones of the performance page, and its hours are counts over rates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/scaling.md").read_text()
MEASURED = (ROOT / "docs/methods/performance.md").read_text()
TOLERANCE = 0.03  # two digits are printed


def rows(heading: str) -> dict[str, list[str]]:
    """The first table below a heading: first cell -> the others."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {name: rest for name, *rest in cells[2:]}


def number(text: str) -> float:
    return float(re.findall(r"\d[\d,]*\.?\d*", text)[0].replace(",", ""))


@pytest.mark.parametrize("rate", [115, 180, 326, 109.3, 84.3, 75.2, 67.5, 81.6, 27.1])
def test_rates_are_measured_ones(rate: float) -> None:
    measured = MEASURED.partition("## First measurements on a GPU")[2]
    assert re.search(rf"(?<![\d.]){rate:g}(?![\d.]\d)", measured)
    assert f"{rate:g}" in PAGE


def test_builds_are_views_over_rates_and_their_latents() -> None:
    for name, (views, *times, _, stored) in rows("Builds").items():
        for rate, time in zip((115, 180, 326), times, strict=True):
            assert number(time) == pytest.approx(number(views) / rate / 60, rel=TOLERANCE), name
        assert number(stored) == pytest.approx(number(views) * 4 * 64 * 64 * 2 / 1e9, rel=0.1), name


def test_trainings_are_the_configurations_samples_over_rates() -> None:
    shipped = {"RefCOCO, 40 epochs": "refer", "NYUv2, 25 epochs": "depth", "ADE20K, 80,000 steps": "seg"}
    for name, (samples, *times, _) in rows("Training").items():
        config = yaml.safe_load((ROOT / f"configs/train/{shipped[name]}.yaml").read_text())
        assert number(samples) % config["data"]["batch_size"] == 0
        loop = config["loop"]
        assert loop.get("epochs", loop.get("steps")) == number(name.partition(", ")[2])
        for time in times:
            if " at " in time:
                hours, rate = map(number, time.split(" at "))
                assert hours == pytest.approx(number(samples) / rate / 3600, rel=TOLERANCE), name


def test_a_thousand_million_pictures_are_a_thousand_million_times_one() -> None:
    table = rows("10^9 pictures, on paper")
    for one, all_of_them in table.values():
        if one.endswith(" B"):
            assert number(all_of_them) * 1e12 == pytest.approx(number(one) * 1e9, rel=0.1)
    (hours,) = [all_of_them for name, (_, all_of_them) in table.items() if "115/s" in name]
    for rate, amount in zip((115, 180, 326), hours.split("; "), strict=True):
        assert number(amount) == pytest.approx(1e9 / rate / 3600, rel=TOLERANCE)
