"""The windowed order of the compiled library is that of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from shards.native.library import SWITCH, library
from shards.reading.counts import Counts
from shards.reading.permutation import keyed, shuffled
from shards.reading.window import WindowedOrder, _phases

pytestmark = pytest.mark.skipif(library() is None, reason="nothing is compiled: `python -m shards.native`")


@pytest.mark.parametrize("seed", range(30))
def test_items_at_any_positions(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 40, (int(rng.integers(1, 14)), 2))
    counts, window = Counts(table[:, 1]), int(rng.integers(1, 16))  # windows wider than the set, too
    order, again = (WindowedOrder(counts, seed, window) for _ in range(2))
    positions = rng.integers(0, 5 * order.n_items, 200)
    found = order.at(positions)
    monkeypatch.setenv(SWITCH, "0")
    assert np.array_equal(again.at(positions), found)


@pytest.mark.parametrize("window", [1, 7, 8, 600])
def test_phases_of_many_shards(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    counts = np.random.default_rng(window).integers(1, 3000, 500)
    found, key = _phases(counts, 3, window, 2), keyed(3, 5)
    every = shuffled(1000, key)
    monkeypatch.setenv(SWITCH, "0")
    for one, other in zip(found, _phases(counts, 3, window, 2), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(every, shuffled(1000, key))
    assert sorted(every) == list(range(1000))
