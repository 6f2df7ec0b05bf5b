"""The picture of a sweep's table: a line for what differs, a point for each layer that has the score."""

from __future__ import annotations

import math
from dataclasses import replace

from diffusion_perception.probing.plot import drawn
from diffusion_perception.probing.table import Row


def row(layer: str, timestep: float, score: float, probe: str = "linear") -> Row:
    return Row(layer, timestep, "a room", probe, 8, (8.0, 8.0), {"mIoU": score})


def test_lines_are_called_by_what_differs_among_them() -> None:
    rows = [row(layer, t, 0.1) for t in (1, 261) for layer in ("mid_block", "up_blocks.2")]
    said = drawn(rows, "mIoU").decode()
    for text in ("mid_block", "up_blocks.2", ">t = 1<", ">t = 261<", "mIoU"):
        assert text in said
    assert "a room" not in said
    assert "linear" not in said
    assert drawn(rows, "mIoU") == said.encode()
    other = drawn([*rows, row("mid_block", 1, 0.3, "knn")], "mIoU").decode()
    assert ">t = 1, knn<" in other
    assert ">t = 261, linear<" in other


def test_one_line_needs_no_legend_and_a_score_over_nothing_has_no_point() -> None:
    whole = drawn([row("a", 1, 0.1), row("b", 1, 0.2), row("c", 1, 0.3)], "mIoU").decode()
    assert ">linear<" not in whole
    holed = drawn([row("a", 1, 0.1), row("b", 1, math.nan), row("c", 1, 0.3)], "mIoU").decode()
    assert whole.count("<use") == holed.count("<use") + 1


def test_a_prompt_is_no_formula() -> None:
    rows = [replace(row("a", 1, 0.1), prompt=prompt) for prompt in ("$5 <or> $6_", r"$\nonsense$")]
    said = drawn(rows, "mIoU").decode()
    assert ">'$5 &lt;or&gt; $6_'<" in said
    assert "nonsense$" in said
