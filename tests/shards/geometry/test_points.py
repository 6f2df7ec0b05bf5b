"""Points of a picture in a recorded view: the centre of the top-left pixel is (0, 0), edges go onto edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shards.geometry.points import rescaled, to_source, to_view
from shards.geometry.view import View

WHOLE = {"box_px": (0, 0, 8, 6), "resized_px": (6, 8), "window_px": (0, 0, 8, 6)}


@pytest.mark.parametrize(
    ("size", "changes", "point", "expected"),
    [
        ((6, 8), {}, (3, 2), (3, 2)),
        ((6, 8), {"flip": True}, (3, 2), (4, 2)),
        ((12, 24), {"resized_px": (12, 24), "window_px": (0, 0, 24, 12)}, (0, 0), (1, 0.5)),
        ((3, 4), {"resized_px": (3, 4), "window_px": (0, 0, 4, 3)}, (7, 5), (3.25, 2.25)),
        ((4, 5), {"box_px": (2, 1, 7, 5), "resized_px": (4, 5), "window_px": (0, 0, 5, 4)}, (2, 1), (0, 0)),
        ((3, 4), {"window_px": (1, 2, 5, 5)}, (1, 2), (0, 0)),
        ((3, 4), {"window_px": (1, 2, 5, 5), "flip": True}, (1, 2), (3, 0)),
        ((9, 13), {"pad_before_px": (2, 4), "pad_px": (1, 1)}, (3, 2), (7, 4)),
        ((9, 13), {"pad_before_px": (2, 4), "pad_px": (1, 1), "flip": True}, (3, 2), (8, 4)),
        ((12, 16), {"enlarged_px": (12, 16), "flip": True}, (0, 0), (14.5, 0.5)),
    ],
)
def test_a_point_follows_the_steps_of_its_view(size: Any, changes: dict[str, Any], point: Any, expected: Any) -> None:
    view = View(size, **{**WHOLE, **changes})
    np.testing.assert_allclose(to_view(np.array(point), view), expected)
    np.testing.assert_allclose(to_source(np.array(expected), view), point)


def test_many_points_keep_their_shape() -> None:
    points = np.arange(24.0).reshape(3, 4, 2)
    assert to_view(points, View((6, 8), **WHOLE)).shape == (3, 4, 2)  # type: ignore[arg-type]


def test_the_mirror_image_of_a_padded_view_has_its_padding_on_the_other_side() -> None:
    view = View((9, 13), **WHOLE, pad_before_px=(2, 4), pad_px=(1, 1))  # type: ignore[arg-type]
    mirrored = view.mirrored()
    assert (mirrored.pad_before_px, mirrored.pad_px, mirrored.flip) == ((2, 1), (1, 4), True)
    assert mirrored.mirrored() == view
    x, y = to_view(np.array([3, 2]), view)
    np.testing.assert_allclose(to_view(np.array([3, 2]), mirrored), [12 - x, y])


def test_a_grid_point_keeps_its_place_on_a_finer_grid() -> None:
    np.testing.assert_allclose(
        rescaled(np.array([[0, 0], [47, 63]]), (64, 48), (256, 192)), [[1.5, 1.5], [189.5, 253.5]]
    )
