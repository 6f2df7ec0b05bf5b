"""What is laid over a picture has the colour that the page's legend shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.example import Example
from pipeline.inspection.drawing import Drawing, colour_of, draw
from pipeline.inspection.labels import Classes, Depth, read_labels
from pipeline.sources.refs.masks import encode_pixels
from shards.contract.schema import Field
from shards.errors import SchemaMismatch

WHITE = np.full((64, 64, 3), 255, np.uint8)
METRES = Field("depth", "npy", "float32", ("H", "W"), unit="metres, 0 = no measurement")


def quarters(drawing: Drawing) -> list[list[float]]:
    """Mean colours of the left and the right half of the overlay, without their edges."""
    pixels = np.asarray(Image.open(io.BytesIO(drawing.overlay))).astype(float)
    return [pixels[20:-20, half].mean(axis=(0, 1)).tolist() for half in (slice(20, 140), slice(180, 300))]


def over_white(colour: tuple[int, int, int]) -> list[float]:
    return [(2 * 255 + 3 * level) / 5 for level in colour]


def test_classes_have_the_colours_of_the_legend_and_ignored_pixels_are_dark() -> None:
    label = np.full((64, 64), 255, np.uint8)
    label[:, :32] = 3
    drawing = draw(Example("a", WHITE, {}), [Classes(label, np.bincount(label.ravel(), minlength=256))])
    left, right = quarters(drawing)
    assert left == pytest.approx(over_white(colour_of(3)), abs=4)
    assert right == pytest.approx(over_white((0, 0, 0)), abs=4)


def test_near_is_red_far_is_blue() -> None:
    map_m = np.full((64, 64), 1.0, np.float32)
    map_m[:, 32:] = 9
    (label,) = read_labels([METRES], {"depth": map_m})
    (near_r, _, near_b), (far_r, _, far_b) = quarters(draw(Example("a", WHITE, {}), [label]))
    assert near_r > near_b + 50
    assert far_b > far_r + 50


def test_a_ref_and_its_sentence_share_a_colour() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True
    refs = [{"rle": encode_pixels(mask)}, {"rle": encode_pixels(np.zeros((64, 64), bool))}]
    drawing = draw(Example("a", WHITE, {"refs": refs}, ("left", "nothing"), ((0, 1), (1, 1))), [])
    assert drawing.texts == (("left", colour_of(0)), ("nothing (nothing in the picture)", colour_of(1)))
    left, right = quarters(drawing)
    assert left == pytest.approx(over_white(colour_of(0)), abs=4)
    assert right == pytest.approx([255] * 3, abs=2)


def test_lengths_without_a_unit_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match="its unit is"):
        read_labels([Field("depth", "npy", "float32", ("H", "W"), unit="pixels")], {"depth": np.ones((2, 2))})


def test_depth_is_measured_where_it_is_above_0() -> None:
    (label,) = read_labels([METRES], {"depth": np.array([[0, 1.5], [2.5, 0]], np.float32)})
    assert isinstance(label, Depth)
    assert (label.measured, label.sample_m.tolist()) == (2, [1.5, 2.5])


def test_a_large_ref_does_not_hide_a_small_one_and_refs_of_one_mask_share_a_colour() -> None:
    everything, left = np.ones((64, 64), bool), np.zeros((64, 64), bool)
    left[:, :32] = True
    refs = [{"rle": encode_pixels(mask)} for mask in (left, everything, left)]
    drawing = draw(Example("a", WHITE, {"refs": refs}, ("left", "all", "west"), ((0, 1), (1, 1), (2, 1))), [])
    assert drawing.texts == (("all", colour_of(0)), ("left / west", colour_of(1)))
    on_left, on_right = quarters(drawing)
    assert on_right == pytest.approx(over_white(colour_of(0)), abs=4)
    assert on_left[2] > on_right[2] + 50, "blue lies on red"
