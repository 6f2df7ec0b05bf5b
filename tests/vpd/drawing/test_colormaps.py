"""The colours of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from shards.errors import ConfigError
from vpd.drawing.colormaps import COLORMAPS, colormap, coloured

ANCHORS = COLORMAPS["dusk"].anchors


def lightness(rgb):
    """CIE L* of sRGB colours `[N, 3]`, 0..255."""
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_rises_in_nearly_equal_steps():
    ramp = coloured(np.linspace(0, 1, 61)[None], 0, 1)[0]
    light = lightness(ramp.astype(float))
    steps = np.diff(light[::10])
    assert light[0] < 15
    assert light[-1] > 90
    assert (np.diff(light) > 0).all()
    assert steps.min() > 0.7 * steps.mean()
    assert steps.max() < 1.3 * steps.mean()


def test_ends_are_held_unknown_is_black_and_directions_mirror():
    values = np.array([[-5.0, 0.0, 2.0, 4.0, 9.0, np.nan, np.inf]])
    found = coloured(values, 0, 4)[0]
    assert found[0].tolist() == found[1].tolist() == ANCHORS[0].tolist()
    assert found[2].tolist() == ANCHORS[3].tolist()
    assert found[3].tolist() == found[4].tolist() == ANCHORS[-1].tolist()
    assert found[5:].max() == 0
    assert np.array_equal(coloured(values, 4, 0)[0, :5], coloured(4 - values, 0, 4)[0, :5])


def test_a_flat_picture_has_one_colour():
    assert len(np.unique(coloured(np.full((3, 3), 2.0), 2, 2).reshape(-1, 3), axis=0)) == 1


def test_spectral_goes_from_red_through_pale_yellow_to_violet():
    found = coloured(np.array([[0.0, 0.5, 1.0]]), 0, 1, colormap("Spectral").anchors)[0]
    assert found.tolist() == [[0x9E, 0x01, 0x42], [0xFF, 0xFF, 0xBF], [0x5E, 0x4F, 0xA2]]


def test_an_unknown_map_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"colormap=spectrl: unknown. Did you mean 'spectral'\? There are: dusk"):
        colormap("spectrl")
