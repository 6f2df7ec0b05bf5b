"""Segmentations of every form give the mask that pycocotools gives, and damaged ones never reach it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from pipeline.sources.refs.masks import BadSegmentation, _unpack_counts, area_px, decode_mask, encode_mask, union_of

LEFT = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0]
RIGHT = [5.0, 1.0, 15.0, 1.0, 15.0, 9.0, 5.0, 9.0]  # overlaps LEFT in columns 5 to 8


def test_union_keeps_the_overlap_of_two_parts_and_exactly_one_drops_it() -> None:
    union = decode_mask(encode_mask([LEFT, RIGHT], 12, 18))
    single = decode_mask(encode_mask([LEFT, RIGHT], 12, 18, "exactly_one"))
    assert union[5].tolist() == [1 <= x < 15 for x in range(18)]
    assert single[5].tolist() == [1 <= x < 5 or 9 <= x < 15 for x in range(18)]


def test_a_single_polygon_is_the_same_under_both_rules() -> None:
    assert encode_mask([LEFT], 12, 18) == encode_mask([LEFT], 12, 18, "exactly_one")


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98))
def test_uncompressed_and_compressed_run_lengths_give_the_same_mask(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((13, 17)) < density
    packed: Any = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    plain = _unpack_counts(packed["counts"])
    for counts in (plain, packed["counts"], packed["counts"].decode()):
        rle = encode_mask({"size": [13, 17], "counts": counts}, 13, 17)
        assert np.array_equal(decode_mask(rle), mask)
        assert rle["counts"] == packed["counts"].decode()
        assert area_px(rle) == mask.sum()


def test_a_list_of_run_lengths_is_the_union_of_its_masks() -> None:
    parts = [encode_mask([part], 12, 18) for part in (LEFT, RIGHT)]
    assert encode_mask(parts, 12, 18) == encode_mask([LEFT, RIGHT], 12, 18) == union_of(parts, 12, 18)
    assert area_px(union_of([], 12, 18)) == 0


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([{"size": [12, 18], "counts": [216]}, {"size": [18, 12], "counts": [216]}], "the image is \\[12, 18\\]"),
        ([], "empty"),
        ([[1, 2, 3, 4]], "4 numbers; expected x, y pairs of at least 3 points"),
        ([LEFT, [1, 2, 3, 4, 5, 6, 7]], "polygon 1 is 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "nan; expected finite"),
        ([[1, 2, 3, 4, 5, "6"]], "expected finite numbers"),
        ([[1, 2, 3, 4, 5, 1e12]], "reaches"),
        ("text", "str; expected a list of polygons"),
        ({"size": [12, 18]}, "size and counts"),
        ({"size": [18, 12], "counts": [216]}, "the image is \\[12, 18\\]"),
        ({"size": [12, 18], "counts": [100, 100]}, "do not add up"),
        ({"size": [12, 18], "counts": [300, -84]}, "do not add up"),
        ({"size": [12, 18], "counts": [True] * 216}, "do not add up"),
        ({"size": [12, 18], "counts": "oooooooo"}, "middle of a number"),
        ({"size": [12, 18], "counts": "a b"}, "the byte 32"),
        ({"size": [12, 18], "counts": "é"}, "expected 48 to 111"),
        ({"size": [12, 18], "counts": None}, "NoneType"),
    ],
)
def test_a_damaged_segmentation_is_refused_with_its_reason(segmentation: object, message: str) -> None:
    with pytest.raises(BadSegmentation, match=message):
        encode_mask(segmentation, 12, 18)
