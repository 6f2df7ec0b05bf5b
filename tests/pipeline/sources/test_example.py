"""An Example refuses to exist when it breaks its rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.example import Example
from shards.errors import SourceError

IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)


def example(**changes: Any) -> Example:
    return Example(**({"key": "a", "image": IMAGE, "meta": {}} | changes))


def test_a_plain_example_knows_its_size() -> None:
    assert (example().height_px, example().width_px) == (4, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "a.b"}, "without a dot"),
        ({"key": "a/b"}, "without a dot or a slash"),
        ({"key": ""}, "expected a name"),
        ({"image": IMAGE.astype(np.float32)}, r"float32 \[4, 6, 3\]; expected uint8"),
        ({"image": IMAGE[..., 0]}, r"uint8 \[4, 6\]"),
        ({"image": IMAGE[:0]}, r"uint8 \[0, 6, 3\]"),
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
