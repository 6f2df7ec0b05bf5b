"""Labels of quick PNGs, cut by any view, against the decoded picture's cut."""

from __future__ import annotations

import os
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.contract.quick_png import PlainRows, RowRuns, plain_rows, quick_png, row_runs
from shards.errors import Reject
from shards.geometry.quick_cut import cut_quotients, cut_rows, cut_runs
from shards.geometry.view import View, cut_label
from shards.native.library import SWITCH
from tests.shards.geometry.any_view import SEEDS, views

SIDE = st.integers(1, 40)


def runs_of(label: np.ndarray) -> RowRuns:
    found = row_runs(memoryview(quick_png(label)), "label")
    assert found is not None
    return found


def rows_of(depth: np.ndarray) -> PlainRows:
    found = plain_rows(memoryview(quick_png(depth)))
    assert found is not None
    return found


@settings(max_examples=80, deadline=None)
@given(st.data(), SIDE, SIDE, SIDE, SIDE, SEEDS)
def test_a_cut_is_the_cut_of_the_decoded_picture(
    data: st.DataObject, height: int, width: int, shown_h: int, shown_w: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    view = data.draw(views((height, width), (shown_h, shown_w)))
    label = np.repeat(rng.integers(0, 3, (height, -(-width // 3))), 3, axis=1)[:, :width].astype(np.uint8)
    expected = cut_label(label, view, fill=255)
    np.testing.assert_array_equal(cut_runs(runs_of(label), view, 255), expected)
    out = np.full((2, shown_h, shown_w), 9, np.uint8)
    cut_runs(runs_of(label), view, 255, out[1])
    np.testing.assert_array_equal(out[1], expected)

    depth = rng.integers(0, 65536, (height, width)).astype(np.uint16)
    (top, left), (rows, columns) = view.pad_before_px, view.content_px
    window = cut_label(depth, view)[top : top + rows, left : left + columns]
    np.testing.assert_array_equal(cut_rows(rows_of(depth), view), window)
    for switch in ("0", "1"):  # Python's way, and the compiled one where there is one
        wider = np.full((rows + 1, columns + 2), np.nan, np.float32)
        with mock.patch.dict(os.environ, {SWITCH: switch}):
            cut_quotients(rows_of(depth), view, 1000 / 3, wider[:rows, 1 : columns + 1])
        np.testing.assert_array_equal(wider[:rows, 1 : columns + 1], window.astype(np.float32) / np.float32(1000 / 3))
        assert np.isnan(wider[rows]).all()
        assert np.isnan(wider[:, [0, -1]]).all()


def test_pictures_of_many_blocks_are_cut_across_them() -> None:
    depth = np.arange(300 * 400, dtype=np.uint16).reshape(300, 400)
    assert len(rows_of(depth).blocks) > 3
    view = View((150, 200), (50, 40, 250, 290), (150, 200), (0, 0, 200, 150), flip=True)
    np.testing.assert_array_equal(cut_rows(rows_of(depth), view), cut_label(depth, view))
    metres = np.empty((150, 200), np.float32)
    cut_quotients(rows_of(depth), view, 256, metres)
    np.testing.assert_array_equal(metres, cut_label(depth, view) / np.float32(256))


def test_a_box_outside_is_refused() -> None:
    outside = View((4, 4), (0, 0, 4, 4), (4, 4), (0, 0, 4, 4))
    with pytest.raises(Reject, match="reaches outside"):
        cut_runs(runs_of(np.zeros((3, 4), np.uint8)), outside, 0)
    with pytest.raises(Reject, match="reaches outside"):
        cut_rows(rows_of(np.zeros((4, 3), np.uint16)), outside)
    with pytest.raises(Reject, match="reaches outside"):
        cut_quotients(rows_of(np.zeros((4, 3), np.uint16)), outside, 1.0, np.empty((4, 4), np.float32))


def test_what_cannot_be_written_is_not() -> None:
    view, out = View((4, 4), (0, 0, 4, 4), (4, 4), (0, 0, 4, 4)), np.zeros((4, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"writeable|read-only"):
        cut_quotients(rows_of(np.ones((4, 4), np.uint16)), view, 1.0, out)
    assert not out.any()
