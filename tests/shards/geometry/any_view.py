"""Views of every kind, for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from shards.geometry.view import View

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def views(draw: st.DrawFn, picture_px: tuple[int, int], size_px: tuple[int, int]) -> View:
    """Any box, enlarged or reduced, any window of it, flipped, padded on all sides to `size_px`."""
    rng = np.random.default_rng(draw(SEEDS))
    y0, x0 = rng.integers(0, picture_px)
    y1, x1 = rng.integers((y0 + 1, x0 + 1), np.array(picture_px) + 1)
    resized = rng.integers(1, 2 * np.array(picture_px) + 1)
    shown = rng.integers(1, np.minimum(resized, size_px) + 1)
    (top, left), before = rng.integers(0, resized - shown + 1), rng.integers(0, size_px - shown + 1)
    window = (left, top, left + shown[1], top + shown[0])
    after = size_px - shown - before
    box, window, resized, before, after = (
        tuple(map(int, values)) for values in ((x0, y0, x1, y1), window, resized, before, after)
    )
    return View(size_px, box, resized, window, flip=draw(st.booleans()), pad_px=after, pad_before_px=before)
