"""A set that was built with another range of depth than the task is set to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vpd.tasks.depth import build


def notices(source: Any, **options: Any) -> list[str]:
    manifest: Any = SimpleNamespace(name="rooms-train", recipe={"source": source})
    return list(build(**options).notices(manifest))


def test_both_numbers_are_told_and_what_follows() -> None:
    source = {"name": "depth_folders", "meaning": {"units_per_metre": 1000, "max_depth_m": 10.0}}
    (nearer,) = notices(source, max_depth_m=5.0)
    assert "task.max_depth_m is 5, and rooms-train was built with max_depth_m 10: what is deeper" in nearer
    assert "Set task.max_depth_m=10 unless" in nearer
    (farther,) = notices(source, max_depth_m=80.0)
    assert "no label is deeper than that" in farther


@pytest.mark.parametrize("source", [{"name": "nyuv2"}, {"meaning": {"max_depth_m": 10}}, None])
def test_a_set_of_the_same_range_or_of_none_says_nothing(source: Any) -> None:
    assert not notices(source, max_depth_m=10.0)
