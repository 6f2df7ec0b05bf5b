"""PNGs whose rows lie open: any program reads them, and the quick way says the same."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shards.contract.quick_png import RUNS, RowRuns, plain_rows, quick_png, row_runs
from shards.errors import CorruptShard


def pixels(height: int, width: int, most: int, dtype: type) -> np.ndarray:
    return np.random.default_rng((height, width, most)).integers(0, most, (height, width)).astype(dtype)


def pixels_of(runs: RowRuns) -> np.ndarray:
    height, width = runs.size_px
    ends = np.repeat(np.arange(height), runs.numbers) * width + runs.ends
    return np.repeat(runs.values, np.diff(ends, prepend=0)).reshape(height, width)


def by_pillow(payload: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(payload)) as picture:
        return np.asarray(picture)


SIDE = st.integers(1, 90)


@settings(max_examples=40, deadline=None)
@given(SIDE, SIDE, st.sampled_from((1, 2, 4, 256)))
def test_a_class_map_is_the_same_by_its_pixels_and_by_its_runs(height: int, width: int, most: int) -> None:
    label = pixels(height, width, most, np.uint8)
    payload = quick_png(label)
    found = row_runs(memoryview(payload), "label")
    assert found is not None
    np.testing.assert_array_equal(by_pillow(payload), label)
    np.testing.assert_array_equal(pixels_of(found), label)


@settings(max_examples=40, deadline=None)
@given(SIDE, SIDE)
def test_depth_is_the_same_by_its_pixels_and_by_its_rows(height: int, width: int) -> None:
    depth = pixels(height, width, 65536, np.uint16)
    payload = quick_png(depth)
    found = plain_rows(memoryview(payload))
    assert found is not None
    np.testing.assert_array_equal(by_pillow(payload).astype(np.uint16), depth)
    rows = np.concatenate([block.reshape(-1, 2 * width) for block in found.blocks])
    np.testing.assert_array_equal(np.ascontiguousarray(rows).view(">u2"), depth)


def test_pngs_of_other_programs_have_no_open_rows() -> None:
    for dtype in (np.uint8, np.uint16):
        buffer = io.BytesIO()
        Image.fromarray(np.arange(64 * 64, dtype=dtype).reshape(64, 64) // 9).save(buffer, "PNG")
        payload = memoryview(buffer.getvalue())
        assert row_runs(payload, "x") is None
        assert plain_rows(payload) is None
    assert plain_rows(memoryview(b"nothing")) is None
    assert row_runs(memoryview(quick_png(np.ones((3, 3), np.uint16))), "x") is None
    assert plain_rows(memoryview(quick_png(np.ones((3, 3), np.uint8)))) is None


def test_a_row_that_is_too_long_for_a_block_is_compressed() -> None:
    payload = quick_png(pixels(2, 40_000, 9, np.uint16))
    assert plain_rows(memoryview(payload)) is None
    np.testing.assert_array_equal(by_pillow(payload).astype(np.uint16), pixels(2, 40_000, 9, np.uint16))


def test_runs_that_do_not_cover_the_picture_and_rows_that_are_cut_are_not_given_out() -> None:
    payload = bytearray(quick_png(pixels(5, 7, 3, np.uint8)))
    at = payload.index(RUNS) + 4
    struct.pack_into("<H", payload, at, 1)
    with pytest.raises(CorruptShard, match=r"label\.png: the runs do not cover its rows"):
        row_runs(memoryview(payload), "label.png")
    with pytest.raises(CorruptShard, match="bytes of runs for 5 rows"):
        row_runs(memoryview(payload)[: at + 8], "label.png")
    assert plain_rows(memoryview(quick_png(pixels(60, 700, 9, np.uint16)))[:-3000]) is None
