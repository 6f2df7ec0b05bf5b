"""Labels cut by a recorded view: Pillow's nearest rule, box, window, flip, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.errors import ConfigError, Reject, SchemaMismatch
from shards.geometry.view import View, cut_label

LABEL = np.arange(48, dtype=np.uint8).reshape(6, 8)


def view(**changes: Any) -> View:
    """The whole 6x8 picture, with changes."""
    values: dict[str, Any] = {"box_px": (0, 0, 8, 6), "resized_px": (6, 8), "window_px": (0, 0, 8, 6), **changes}
    x0, y0, x1, y1 = values["window_px"]
    bottom, right = values.get("pad_px", (0, 0))
    return View(size_px=(y1 - y0 + bottom, x1 - x0 + right), **values)


def test_the_whole_image_is_returned_as_it_is() -> None:
    np.testing.assert_array_equal(cut_label(LABEL, view()), LABEL)


@pytest.mark.parametrize("size", [(5, 3), (512, 512), (7, 8), (1, 1), (13, 29)])
@pytest.mark.parametrize("source", [(6, 8), (427, 640), (375, 500)])
def test_a_resize_is_pils_nearest_neighbour(source: tuple[int, int], size: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 255, source, dtype=np.uint8)
    h, w = size
    squashed = view(box_px=(0, 0, source[1], source[0]), resized_px=size, window_px=(0, 0, w, h))
    expected = np.asarray(Image.fromarray(label).resize((w, h), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(cut_label(label, squashed), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"box_px": (1, 2, 5, 4), "resized_px": (2, 4), "window_px": (0, 0, 4, 2)}, LABEL[2:4, 1:5]),
        ({"window_px": (3, 1, 6, 5)}, LABEL[1:5, 3:6]),
        ({"flip": True}, LABEL[:, ::-1]),
        ({"window_px": (3, 1, 6, 5), "flip": True}, LABEL[1:5, 3:6][:, ::-1]),
        ({"pad_px": (1, 2)}, np.pad(LABEL, ((0, 1), (0, 2)), constant_values=9)),
    ],
)
def test_box_window_flip_and_padding(changes: dict[str, Any], expected: np.ndarray) -> None:
    np.testing.assert_array_equal(cut_label(LABEL, view(**changes), fill=9), expected)


def test_any_dtype_keeps_its_values() -> None:
    label = LABEL.astype(np.float32) * 257
    cut = cut_label(label, view(flip=True, pad_px=(1, 0)), fill=-1.0)
    assert cut.dtype == np.float32
    np.testing.assert_array_equal(cut[:6], label[:, ::-1])
    assert (cut[6] == -1).all()


def test_a_box_outside_the_picture_is_a_reject() -> None:
    with pytest.raises(Reject, match="outside the image of 8 x 6"):
        cut_label(LABEL, view(box_px=(0, 0, 9, 6)))


def test_json_and_back_is_the_same_view() -> None:
    made = view(window_px=(3, 1, 6, 5), flip=True, pad_px=(2, 1), colour=(("gamma", 0.9), ("brightness", 3.0)))
    assert View.from_json(made.to_json()) == made
    with pytest.raises(SchemaMismatch, match="another version"):
        View.from_json({**made.to_json(), "extra": 1})


def test_sizes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="must agree"):
        View((4, 4), (0, 0, 8, 6), (6, 8), (0, 0, 8, 6))
