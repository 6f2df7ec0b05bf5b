"""Masks cut in run-length form, against the plain way: decode the whole picture, then cut it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from shards.errors import Reject, SchemaMismatch
from shards.geometry.runs import Runs, coco_counts, cut_masks
from shards.geometry.view import View, cut_label
from tests.shards.geometry.any_view import SEEDS, views

KINDS = ("empty", "full", "pixel", "noise", "box", "hole")
WHOLE = View((6, 8), (0, 0, 8, 6), (6, 8), (0, 0, 8, 6))


def runs_of(mask: np.ndarray) -> Runs:
    height, width = mask.shape
    return Runs(coco_mask.encode(np.asfortranarray(mask))["counts"].decode(), (height, width))


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Empty, full, one pixel, noise, a box, and all but a box."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    kind, rng = draw(st.sampled_from(KINDS)), np.random.default_rng(draw(SEEDS))
    mask = np.zeros((height, width), np.uint8)
    if kind == "noise":
        mask = (rng.random((height, width)) < rng.random()).astype(np.uint8)
    elif kind != "empty":
        top, left = rng.integers(height), rng.integers(width)
        side = {"full": (height, width), "pixel": (1, 1)}.get(kind, tuple(rng.integers(1, (height + 1, width + 1))))
        mask[(0 if kind == "full" else top) :, (0 if kind == "full" else left) :][: side[0], : side[1]] = 1
    return 1 - mask if kind == "hole" else mask


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_of_runs_is_the_cut_of_the_decoded_picture(data: st.DataObject) -> None:
    size_px = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    drawn = data.draw(st.lists(masks(), min_size=1, max_size=4))
    seen = [data.draw(views(mask.shape, size_px)) for mask in drawn]
    expected = np.stack([cut_label(mask, view) for mask, view in zip(drawn, seen, strict=True)])
    runs = [runs_of(mask) for mask in drawn]
    np.testing.assert_array_equal(cut_masks(runs, seen), expected)
    out = np.full((len(drawn), *size_px), 7, np.uint8)  # what a reused batch held before
    assert cut_masks(runs, seen, out) is out
    np.testing.assert_array_equal(out, expected)


def test_the_numbers_are_those_of_coco() -> None:
    rng = np.random.default_rng(0)
    drawn = [(rng.random((300, 5)) < share).astype(np.uint8) for share in (0, 0.001, 0.5, 1)]
    counts, ends = coco_counts([runs_of(mask) for mask in drawn])
    for mask, own in zip(drawn, np.split(counts, ends[:-1]), strict=True):
        values = np.arange(len(own)) % 2
        np.testing.assert_array_equal(np.repeat(values, own).reshape(5, 300).T, mask)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(1, 6))
def test_runs_of_no_length_are_none(data: st.DataObject, counts: list[int], height: int) -> None:
    """As pycocotools reads them, which never writes them: here by their differences, one character each."""
    counts = [*counts, -sum(counts) % height or height * (sum(counts) == 0)]
    steps = [count - (counts[place - 2] if place > 2 else 0) for place, count in enumerate(counts)]
    text = "".join(chr(48 + (step & 31)) for step in steps)
    mask = coco_mask.decode({"size": [height, sum(counts) // height], "counts": text.encode()})
    view = data.draw(views(mask.shape, (9, 11)))
    found = cut_masks([Runs(text, mask.shape), runs_of(mask)], [view, view])
    np.testing.assert_array_equal(found, [cut_label(mask, view)] * 2)


@pytest.mark.parametrize("text", ["", "Z", "P", "~", "0" * 9, "PPPPPPPPP1", "`1!", "1M"])
def test_runs_that_are_none_of_the_picture_are_refused(text: str) -> None:
    with pytest.raises(SchemaMismatch, match="record 7"):
        cut_masks([Runs(text, (6, 8))], [WHOLE], name="record 7{}".format)


def test_an_enlarged_view_has_a_mask_of_its_windows_size() -> None:
    view = View((12, 16), (0, 0, 8, 6), (6, 8), (1, 1, 8, 6), enlarged_px=(12, 16))
    mask = np.eye(6, 8, dtype=np.uint8)
    np.testing.assert_array_equal(cut_masks([runs_of(mask)], [view])[0], cut_label(mask, view))


def test_batches_of_several_sizes_and_boxes_outside_are_refused() -> None:
    small = View((3, 8), (0, 0, 8, 6), (3, 8), (0, 0, 8, 3))
    runs = runs_of(np.ones((6, 8), np.uint8))
    with pytest.raises(SchemaMismatch, match=r"mask 1: its view has .3, 8. pixels, that of mask 0 .6, 8."):
        cut_masks([runs, runs], [WHOLE, small])
    with pytest.raises(Reject, match="reaches outside"):
        cut_masks([runs_of(np.ones((5, 8), np.uint8))], [WHOLE])
