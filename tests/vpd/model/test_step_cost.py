"""What a training step may cost, counted on shapes alone (D1 and D3 of docs/methods/performance.md#bars)."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counting import BARS_GFLOP, SLACK, AttentionSquares, count_step
from benchmarks.networks import build
from vpd.model.regimes import learned_share
from vpd.model.settings import ModelConfig


@pytest.mark.parametrize(
    ("name", "forward_gflop"),
    [
        ("refer", 800.1 + 108.2),  # UNet at 40 tokens, head
        ("seg", 809.4 + 17.2),  # at 150
        ("depth", 771.1 + 162.4),  # at one, collapsed
    ],
)
def test_a_full_size_step_meets_its_bar_and_never_builds_an_attention_square(name: str, forward_gflop: float) -> None:
    count = count_step(name)
    assert count.step_gflop <= BARS_GFLOP[name] * SLACK
    assert count.step_gflop == pytest.approx(3 * count.forward_gflop, rel=3e-3)  # nothing is computed twice
    assert count.forward_gflop == pytest.approx(forward_gflop, rel=3e-3)
    assert count.squares == set()


def test_depth_has_no_queries_and_keys_to_learn() -> None:
    model, _ = build("depth", device="meta")
    learned, whole = learned_share(model)
    assert whole - learned == pytest.approx(22.0e6, rel=2e-3)  # D5: over one token they have no effect


def test_what_does_not_learn_is_not_computed_for() -> None:
    """Of the head alone, backward passes the head alone; LoRA needs the gradients of inputs and few of weights."""
    known = count_step(regime=ModelConfig(train="head"), known=True)
    assert known.step_gflop == pytest.approx(317, rel=2e-3)  # the head alone, whose features need no gradient
    head, lora = (count_step(regime=ModelConfig(train=train)) for train in ("head", "lora"))
    assert head.forward_gflop == pytest.approx(800.1 + 108.2, rel=1e-3)
    assert head.step_gflop - head.forward_gflop <= 2 * 108.2 * SLACK
    assert head.kept_gb < 0.2 * lora.kept_gb
    assert lora.step_gflop == pytest.approx(2 * 800.1 + 3 * 108.2 + 119, rel=1e-2)


def test_the_detector_sees_an_attention_square():
    query = torch.empty(1, 8, 1024, 4, device="meta")
    with AttentionSquares() as squares:
        (query @ query.transpose(-1, -2)).softmax(-1)
        torch.empty(1, 1024, 1024, device="meta").relu()  # pixels x channels, not an attention matrix
    assert {tuple(shape) for shape in squares.found} == {(1, 8, 1024, 1024), (8, 1024, 1024)}
