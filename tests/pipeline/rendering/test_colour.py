"""Colour steps do the published arithmetic, and CutDepth draws what the published code and the sane form draw."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.rendering import colour, cut_depth
from pipeline.rendering.geometry import render
from shards.errors import ConfigError
from shards.geometry.view import View

RNG = np.random.default_rng(11)
IMAGE = RNG.integers(0, 256, (24, 32, 3), np.uint8)
DEPTH_M = RNG.uniform(0.5, 9.5, (24, 32)).astype(np.float32)
DEPTH_M[:6] = 0


def png(depth_mm: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(depth_mm.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def whole(*steps: tuple[str | float, ...]) -> View:
    return View((24, 32), (0, 0, 32, 24), (24, 32), (0, 0, 32, 24), colour=steps)


def test_brightness_and_contrast_are_one_table_cut_to_levels() -> None:
    expected = np.clip(IMAGE * 1.13 - 20.4, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(colour.apply(IMAGE, [("brightness_contrast", 1.13, -20.4)]), expected)


def test_gamma_raises_relative_levels() -> None:
    expected = (255 * (IMAGE / 255) ** 0.83).astype(np.uint8)
    np.testing.assert_array_equal(colour.apply(IMAGE, [("gamma", 0.83)]), expected)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (17.0, 0.0, 0.0), (-20.0, 25.0, -15.0), (0.0, -30.0, 20.0)])
def test_hue_saturation_and_value_shift_in_the_hexcone(shift: tuple[float, float, float]) -> None:
    shown = colour.apply(IMAGE, [("hue_saturation_value", *shift)])
    for source, found in zip(IMAGE.reshape(-1, 3)[::7], shown.reshape(-1, 3)[::7], strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(source / 255))
        s, v = (np.clip(part + amount / 255, 0, 1) for part, amount in ((s, shift[1]), (v, shift[2])))
        expected = 255 * np.array(colorsys.hsv_to_rgb((h + shift[0] / 180) % 1, s, v))
        # hue is kept in steps of two degrees, saturation in 255ths: up to five levels on a saturated picture
        np.testing.assert_allclose(found, expected, atol=6)


def test_steps_run_in_order_and_leave_the_source_alone() -> None:
    before = IMAGE.copy()
    one = colour.apply(IMAGE, [("gamma", 0.7), ("brightness_contrast", 0.8, 30.0)])
    other = colour.apply(IMAGE, [("brightness_contrast", 0.8, 30.0), ("gamma", 0.7)])
    np.testing.assert_array_equal(one, colour.brightness_contrast(colour.gamma(IMAGE, 0.7), 0.8, 30.0))
    assert (one != other).any()
    np.testing.assert_array_equal(IMAGE, before)


def test_a_step_that_does_not_exist_or_takes_other_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'sepia' is unknown; known: .*gamma"):
        colour.apply(IMAGE, [("sepia", 1.0)])
    with pytest.raises(ConfigError, match="'gamma' takes exponent; found"):
        colour.apply(IMAGE, [("gamma", 1.0, 2.0)])


@pytest.mark.parametrize("stored", ["png", "metres"])
def test_published_cut_depth_wraps_millimetres_at_256(stored: str) -> None:
    depth_mm = np.full((24, 32), 300)
    depth_mm[:, 16:] = 5000
    depth_mm[0] = 0
    label = png(depth_mm) if stored == "png" else (depth_mm / 1000).astype(np.float32)
    shown = render(IMAGE, whole(("cut_depth_wrapped", 10, 20)), {"depth": label})
    assert (shown[1:, 10:16] == 44).all()
    assert (shown[1:, 16:20] == 136).all()
    assert (shown[0, 10:20] == 0).all(), "the published form draws missing depth as black"
    np.testing.assert_array_equal(shown[:, :10], IMAGE[:, :10])
    np.testing.assert_array_equal(shown[:, 20:], IMAGE[:, 20:])


def test_scaled_cut_depth_is_relative_depth_and_keeps_the_picture_where_nothing_is_measured() -> None:
    shown = render(IMAGE, whole(("cut_depth_scaled", 4, 30, 10.0)), {"depth": DEPTH_M})
    np.testing.assert_array_equal(shown[:6], IMAGE[:6])
    expected = np.repeat(DEPTH_M[6:, 4:30, None] * 25.5, 3, axis=2)
    np.testing.assert_allclose(shown[6:, 4:30].astype(np.float32), expected, atol=0.53)
    assert (render(IMAGE, whole(("cut_depth_scaled", 4, 30, 0.2)), {"depth": DEPTH_M})[6:, 4:30] == 255).all()


def test_cut_depth_reads_a_png_of_any_unit() -> None:
    """KITTI stores 1/256 metres: as published its integers wrap as they are; the scaled form is told their unit."""
    label = png(DEPTH_M * 256)
    wrapped = render(IMAGE, whole(("cut_depth_wrapped", 4, 30)), {"depth": label})
    np.testing.assert_array_equal(wrapped[:, 4:30, 0], (DEPTH_M * 256).astype(np.uint16)[:, 4:30] % 256)
    expected = render(IMAGE, whole(("cut_depth_scaled", 4, 30, 10.0)), {"depth": DEPTH_M}).astype(int)
    for depth in (label, DEPTH_M):
        shown = render(IMAGE, whole(("cut_depth_scaled", 4, 30, 10.0, 256.0)), {"depth": depth})
        np.testing.assert_allclose(shown.astype(int), expected, atol=1)


def test_a_strip_lies_in_source_pixels_whatever_the_view_does_afterwards() -> None:
    strip = ("cut_depth_wrapped", 8, 20)
    view = View((12, 16), (12, 6, 28, 18), (12, 16), (0, 0, 16, 12), flip=True, colour=(strip, ("gamma", 0.9)))
    by_hand = cut_depth.paste(IMAGE, [strip], {"depth": DEPTH_M})[6:18, 12:28][:, ::-1]
    np.testing.assert_array_equal(render(IMAGE, view, {"depth": DEPTH_M}), colour.gamma(by_hand, 0.9))


def test_cut_depth_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ConfigError, match="needs the label 'depth', the source gives none"):
        render(IMAGE, whole(("cut_depth_wrapped", 1, 2)))
    with pytest.raises(ConfigError, match="must come first"):
        render(IMAGE, whole(("gamma", 1.0), ("cut_depth_wrapped", 1, 2)), {"depth": DEPTH_M})
    with pytest.raises(ConfigError, match="columns 30 to 33 in a picture 32 pixels wide"):
        render(IMAGE, whole(("cut_depth_wrapped", 30, 33)), {"depth": DEPTH_M})
    with pytest.raises(ConfigError, match="takes 3 or 4 numbers"):
        render(IMAGE, whole(("cut_depth_scaled", 1, 3)), {"depth": DEPTH_M})
