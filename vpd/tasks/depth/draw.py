"""A colour for every number, to look at depth: dark violet through blue and green to pale yellow.

Owns the ramp, piecewise linear between anchors of our own whose lightness rises in near-equal steps (CIE L* about 10
to 95), so that equal steps of the value look about equally large, and a grey print keeps the order.
"""

from __future__ import annotations

import numpy as np

ANCHORS = np.array(
    [[28, 16, 68], [64, 50, 122], [52, 98, 142], [28, 144, 140], [66, 186, 114], [158, 220, 80], [250, 240, 160]],
    dtype=np.float64,
)
MISSING = (0, 0, 0)


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The colours of values `[H, W]`, uint8 `[H, W, 3]`: the ramp from `low` to `high`, its ends beyond them.

    Values that are not finite are black. `low` may lie above `high`: then small values are light.
    """
    finite = np.isfinite(values)
    place = (np.where(finite, values, low).astype(np.float64) - low) / ((high - low) or 1.0)
    place = np.clip(place, 0.0, 1.0) * (len(ANCHORS) - 1)
    knots = np.arange(len(ANCHORS))
    channels = [np.interp(place, knots, anchors) for anchors in ANCHORS.T]
    picture = np.stack(channels, axis=-1).round().astype(np.uint8)
    picture[~finite] = MISSING
    return picture
