"""What three passes of the UNet may cost, counted on shapes alone (docs/methods/performance.md#bars)."""

from __future__ import annotations

import pytest

from benchmarks import passes


def test_three_passes_add_two_unets_and_nothing_else():
    one, kept = passes.count(1)
    three, kept_by_three = passes.count(3)
    unet = 3 * 802  # GFLOP of a UNet pass at 50 tokens (docs/methods/performance.md#operations-of-a-step)
    assert three - one == pytest.approx(2 * unet, rel=5e-3)
    assert three <= passes.BAR * one
    assert kept < kept_by_three < passes.BAR * kept
