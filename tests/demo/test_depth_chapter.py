"""The figure that the demo gives for seams: 1 where a window's edge is like the columns beside it, more at a step."""

from __future__ import annotations

import numpy as np
import pytest

from demo.depth_chapter import seam_ratio
from shards.geometry.view import View

HEIGHT, WIDTH = 6, 20
WINDOWS = [
    View((HEIGHT, 12), box_px=(0, 0, WIDTH, HEIGHT), resized_px=(HEIGHT, WIDTH), window_px=(x, 0, x + 12, HEIGHT))
    for x in (0, 8)
]


def test_a_ramp_has_no_seam_and_a_step_at_an_edge_is_one() -> None:
    ramp = np.tile(np.arange(WIDTH, dtype=np.float32), (2, HEIGHT, 1))  # [N, H, W]
    assert seam_ratio(ramp, WINDOWS) == pytest.approx(1.0)
    for edge in (8, 12):
        stepped = ramp.copy()
        stepped[..., edge:] += 2
        assert seam_ratio(stepped, WINDOWS) == pytest.approx(3.0)
    once = ramp.copy()
    once[0, :, 8:] += 2  # in one of two pictures
    assert seam_ratio(once, WINDOWS) == pytest.approx(2.0)
    beside = ramp.copy()
    beside[..., 10:] += 2  # between the edges: part of the picture
    assert seam_ratio(beside, WINDOWS) == pytest.approx(1.0)
