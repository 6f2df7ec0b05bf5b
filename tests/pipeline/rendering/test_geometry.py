"""Geometry agrees with Pillow, with itself for images and labels, and with the published normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import exact
from shards.errors import ConfigError, Reject
from shards.geometry.view import View, cut_label

RNG = np.random.default_rng(7)


def published_resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Pillow's bilinear resize as releases up to 12 compute it in one call: rows first, 8 bits in between."""
    rows = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
    return rows.resize((width, height), Image.Resampling.BILINEAR)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (333, 500), (512, 512), (37, 911)])
def test_exact_view_is_what_pillow_resizes_bit_for_bit(height: int, width: int) -> None:
    image = RNG.integers(0, 256, (height, width, 3), np.uint8)
    (view,) = exact.build(512).views("k", height, width)
    published = np.asarray(published_resize(Image.fromarray(image), 512, 512))
    np.testing.assert_array_equal(render(image, view), published)
    if int(PIL.__version__.split(".")[0]) <= 12:  # 13 takes the cheaper order first
        whole = Image.fromarray(image).resize((512, 512), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(published, np.asarray(whole))


@pytest.mark.parametrize(("source", "target"), [((333, 500), (512, 512)), ((640, 480), (37, 91)), ((7, 5), (97, 101))])
def test_label_is_cut_by_pillows_nearest_rule(source: tuple[int, int], target: tuple[int, int]) -> None:
    label = RNG.integers(0, 256, source, np.uint8)
    (view,) = exact.build(target).views("k", *source)
    published = np.asarray(Image.fromarray(label).resize(target[::-1], Image.Resampling.NEAREST))
    np.testing.assert_array_equal(cut_label(label, view, 255), published)


def test_label_of_any_dtype_follows_the_image_through_every_step() -> None:
    image = np.repeat(RNG.integers(0, 256, (40, 60, 1), np.uint8), 3, axis=2)
    view = View((24, 30), (10, 5, 50, 35), (30, 40), (7, 3, 32, 23), "pil_nearest", flip=True, pad_px=(4, 5))
    label = cut_label(image[..., 0].astype(np.float32) * 257, view, fill=-1.0)
    assert label.shape == (24, 30)
    np.testing.assert_array_equal(label[:20, :25], render(image, view)[..., 0].astype(np.float32) * 257)
    assert (label[20:] == -1).all()
    assert (label[:, 25:] == -1).all()


def test_steps_run_in_the_documented_order() -> None:
    image = RNG.integers(0, 256, (40, 60, 3), np.uint8)
    colour = (("brightness_contrast", 1.5, -20.0), ("gamma", 0.8))
    view = View((20, 25), (10, 5, 50, 35), (45, 60), (7, 3, 32, 23), flip=True, colour=colour)
    by_hand = published_resize(Image.fromarray(image).crop((10, 5, 50, 35)), 60, 45)
    levels = np.asarray(by_hand.crop((7, 3, 32, 23)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)).astype(np.float64)
    levels = np.clip(levels * 1.5 - 20, 0, 255).astype(np.uint8)
    levels = np.clip(255 * (levels / 255) ** 0.8, 0, 255)
    np.testing.assert_array_equal(render(image, view), levels.astype(np.uint8))


@pytest.mark.parametrize(
    "view",
    [
        View((512, 512), (0, 0, 60, 40), (512, 512), (0, 0, 512, 512)),
        View((20, 25), (10, 5, 50, 35), (45, 60), (7, 3, 32, 23), flip=True, colour=(("gamma", 0.8),)),
        View((40, 60), (0, 0, 60, 40), (40, 60), (0, 0, 60, 40)),
        View((40, 48), (0, 0, 60, 40), (40, 48), (0, 0, 48, 40)),
    ],
)
def test_a_decoded_picture_shows_what_an_array_of_it_shows(view: View) -> None:
    image = RNG.integers(0, 256, (40, 60, 3), np.uint8)
    shown = render(Image.fromarray(image), view)
    np.testing.assert_array_equal(shown, render(image, view))
    assert shown.flags.c_contiguous


def test_pixels_are_to_tensor_then_normalize_and_padding_is_zero_afterwards() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    pixels = to_pixels([image, image[:8, :8]], (16, 16))
    assert pixels.dtype == np.float32
    published = torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5).numpy()
    np.testing.assert_array_equal(pixels[0], published)
    np.testing.assert_array_equal(pixels[1, :, :8, :8], published[:, :8, :8])
    assert not pixels[1, :, 8:].any()
    assert not pixels[1, :, :, 8:].any()


def test_image_larger_than_the_canvas_is_refused() -> None:
    with pytest.raises(ConfigError, match="32 x 16 pixels does not fit the canvas of 16 x 16"):
        to_pixels([np.zeros((32, 16, 3), np.uint8)], (16, 16))


def test_view_outside_its_image_rejects_the_sample() -> None:
    (view,) = exact.build(16).views("k", 40, 60)
    with pytest.raises(Reject, match="outside the image of 50 x 40"):
        render(np.zeros((40, 50, 3), np.uint8), view)


def test_a_colour_step_nobody_knows_is_refused() -> None:
    (whole,) = exact.build(16).views("k", 40, 60)
    for step in (("sepia", 1.0), ("gamma", 0.9, 0.1)):
        with pytest.raises(ConfigError, match="colour step"):
            render(np.zeros((40, 60, 3), np.uint8), replace(whole, colour=(step,)))
