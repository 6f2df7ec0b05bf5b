"""An Example refuses to exist when it breaks its rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.example import Example
from shards.errors import SourceError

IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)


def example(**changes: Any) -> Example:
    return Example(**({"key": "a", "picture": IMAGE, "meta": {}} | changes))


@pytest.mark.parametrize("picture", [IMAGE, Image.fromarray(IMAGE)])
def test_a_plain_example_knows_its_size_and_pixels(picture: np.ndarray | Image.Image) -> None:
    found = example(picture=picture)
    assert (found.height_px, found.width_px) == (4, 6)
    assert np.array_equal(found.image, IMAGE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "a.b"}, "without a dot"),
        ({"key": "a/b"}, "without a dot or a slash"),
        ({"key": ""}, "expected a name"),
        ({"picture": IMAGE.astype(np.float32)}, r"float32 \[4, 6, 3\]; expected uint8"),
        ({"picture": IMAGE[..., 0]}, r"uint8 \[4, 6\]"),
        ({"picture": IMAGE[:0]}, r"uint8 \[0, 6, 3\]"),
        ({"picture": Image.new("L", (6, 4))}, "Pillow mode L, 4 x 6"),
        ({"meta": {"x": np.int64(1)}}, "cannot be written as JSON"),
        ({"meta": {"x": float("nan")}}, "cannot be written as JSON"),
        ({"labels": {"depth": np.zeros((2, 3))}}, r"label 'depth' is \[2, 3\]; expected .*\[4, 6\]"),
        ({"sentences": ("x",)}, "1 sentences but no items"),
        ({"sentences": ("x", "y"), "items": ((0, 1),)}, "items cover 1 sentences, the example has 2"),
        ({"sentences": ("x", "y"), "items": ((0, 1), (0, 2))}, "a run starting at 1"),
        ({"sentences": ("x",), "items": ((0, 1), (1, 0))}, "non-empty runs"),
    ],
)
def test_a_broken_example_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        example(**changes)
