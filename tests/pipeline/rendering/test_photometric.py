"""Photometric distortion: the published arithmetic, order and probabilities."""

from __future__ import annotations

import colorsys
from collections import Counter

import numpy as np
import pytest

from pipeline.rendering import colour, photometric
from pipeline.views import generator

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def test_hsv_is_the_8_bit_form_of_the_textbook_conversion() -> None:
    h, s, v = photometric.to_hsv(NOISE)
    exact = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in (NOISE / 255).reshape(-1, 3)]) * (180, 255, 255)
    found = np.stack([h, s, v], -1).reshape(-1, 3)
    turns = (found[:, 0] - exact[:, 0] + 90) % 180 - 90
    assert np.abs(turns).max() < 0.6
    assert np.abs(found[:, 1:] - exact[:, 1:]).max() < 0.6
    assert h.min() >= 0
    assert h.max() < 180


def test_hsv_of_known_colours_is_opencvs() -> None:
    """Recorded from cv2 5.0 (RGB2HSV, 8 bits); all 2^24 colours were compared when this was written."""
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 77), (90, 14, 133)]
    expected = [(0, 0, 0), (0, 0, 255), (0, 255, 255), (60, 255, 255), (120, 255, 255), (70, 240, 200), (139, 228, 133)]
    found = np.stack(photometric.to_hsv(np.array([colours], np.uint8)), -1)[0]
    assert found.tolist() == [list(hsv) for hsv in expected]


def test_a_round_trip_through_hsv_changes_little() -> None:
    again = photometric.to_rgb(*photometric.to_hsv(NOISE))
    assert again.dtype == np.uint8
    assert np.abs(again.astype(int) - NOISE).max() <= 5  # hue has 180 steps, a step is up to 255 / 30 levels
    grey = np.repeat(NOISE[..., :1], 3, axis=2)
    assert np.array_equal(photometric.to_rgb(*photometric.to_hsv(grey)), grey)


def test_steps_cut_to_whole_levels_and_clip() -> None:
    image = np.array([[[0, 10, 250]]], np.uint8)
    assert photometric.brightness(image, 7.9).tolist() == [[[7, 17, 255]]]
    assert photometric.brightness(image, -7.9).tolist() == [[[0, 2, 242]]]
    assert photometric.contrast(image, 1.27).tolist() == [[[0, 12, 255]]]


def test_saturation_and_hue_move_what_they_should() -> None:
    red = np.array([[[200, 50, 50]]], np.uint8)
    assert photometric.saturation(red, 0.5).tolist() == [[[200, 125, 125]]]
    assert photometric.hue(red, 15).tolist() == [[[200, 125, 50]]]  # 30 degrees
    assert photometric.hue(red, -15).tolist() == [[[200, 50, 125]]]


def test_every_step_can_be_carried_out_by_name() -> None:
    steps = (("photometric_contrast", 0.9), ("photometric_saturation", 1.4), ("photometric_hue", -3))
    image = NOISE
    for name, number in steps:
        image = photometric.STEPS[name](image, number)
    assert np.array_equal(colour.apply(NOISE, steps), image)
    assert not np.array_equal(image, NOISE)


def test_draws_have_the_published_order_bounds_and_probabilities() -> None:
    drawn = [photometric.draw(generator(0, "key", k)) for k in range(4000)]
    names = [[name.removeprefix("photometric_") for name, _ in steps] for steps in drawn]
    often = Counter(name for steps in names for name in steps)
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert often[name] / len(drawn) == pytest.approx(0.5, abs=0.03)
    full = Counter(tuple(steps) for steps in names if len(steps) == 4)
    assert set(full) == {
        ("brightness", "contrast", "saturation", "hue"),
        ("brightness", "saturation", "hue", "contrast"),
    }
    numbers = {name: [n for steps in drawn for s, n in steps if s == f"photometric_{name}"] for name in often}
    for name, (low, high) in {"brightness": (-32, 32), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5)}.items():
        assert low <= min(numbers[name]) < low + 0.05 * (high - low)
        assert high >= max(numbers[name]) > high - 0.05 * (high - low)
    assert sorted(set(numbers["hue"])) == list(range(-18, 18))
