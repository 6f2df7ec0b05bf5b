"""A colour for every number.

    dusk      ours, the default: dark violet through blue and green to pale yellow; lightness (CIE L* about 10 to 95)
              rises in near-equal steps, so equal steps of a value look about equally large and a grey print keeps the
              order. Near is light.
    spectral  ColorBrewer's Spectral in 11 colours, red to violet; near is red, as Marigold shows depth.
    grey      black to white; near is light.

Every map is piecewise linear between its anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.errors import ConfigError, did_you_mean

MISSING = (0, 0, 0)


@dataclass(frozen=True)
class Colormap:
    """Anchors `[N, 3]` at equal distances, and whether depth runs through them from far to near."""

    anchors: np.ndarray
    far_first: bool


def _colours(text: str) -> np.ndarray:
    return np.array([[int(word[i : i + 2], 16) for i in (0, 2, 4)] for word in text.split()], dtype=np.float64)


COLORMAPS = {
    "dusk": Colormap(_colours("1c1044 40327a 34628e 1c908c 42ba72 9edc50 faf0a0"), far_first=True),
    "spectral": Colormap(
        _colours("9e0142 d53e4f f46d43 fdae61 fee08b ffffbf e6f598 abdda4 66c2a5 3288bd 5e4fa2"), far_first=False
    ),
    "grey": Colormap(_colours("000000 ffffff"), far_first=True),
}


def colormap(name: str) -> Colormap:
    """The map of a name, in any case; ConfigError: there is none."""
    found = COLORMAPS.get(name.lower())
    if found is None:
        raise ConfigError(
            f"colormap={name}: unknown.{did_you_mean(name, COLORMAPS)} There are: {', '.join(COLORMAPS)}."
        )
    return found


def coloured(
    values: np.ndarray, low: float, high: float, anchors: np.ndarray = COLORMAPS["dusk"].anchors
) -> np.ndarray:
    """The colours of values `[H, W]`, uint8 `[H, W, 3]`: the anchors from `low` to `high`, their ends beyond them.

    Values that are not finite are black. `low` may lie above `high`: then small values have the last colours.
    """
    finite = np.isfinite(values)
    place = (np.where(finite, values, low).astype(np.float64) - low) / ((high - low) or 1.0)
    place = np.clip(place, 0.0, 1.0) * (len(anchors) - 1)
    knots = np.arange(len(anchors))
    channels = [np.interp(place, knots, levels) for levels in anchors.T]
    picture = np.stack(channels, axis=-1).round().astype(np.uint8)
    picture[~finite] = MISSING
    return picture
