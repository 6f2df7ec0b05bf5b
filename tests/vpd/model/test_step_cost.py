"""What a training step may cost, counted on shapes alone (D1 and D3 of docs/methods/performance.md#bars)."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counting import BARS_GFLOP, SLACK, AttentionSquares, count_step


def test_a_full_size_refer_step_meets_the_flop_bar_and_never_builds_an_attention_square():
    flops, squares = count_step()
    assert flops["step"] <= BARS_GFLOP["refer"] * SLACK
    assert flops["step"] == pytest.approx(3 * flops["forward"], rel=1e-3)  # nothing is computed twice
    assert flops["forward"] == pytest.approx(800.1 + 108.2, rel=1e-3)  # UNet at T = 40, refer head
    assert squares == set()


def test_the_detector_sees_an_attention_square():
    query = torch.empty(1, 8, 1024, 4, device="meta")
    with AttentionSquares() as squares:
        (query @ query.transpose(-1, -2)).softmax(-1)
        torch.empty(1, 1024, 1024, device="meta").relu()  # pixels x channels, not an attention matrix
    assert {tuple(shape) for shape in squares.found} == {(1, 8, 1024, 1024), (8, 1024, 1024)}
