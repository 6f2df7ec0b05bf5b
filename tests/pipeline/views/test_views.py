"""Views say everything about themselves, survive JSON, and are drawn from (seed, key, index) alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.views import exact, generator
from shards.errors import ConfigError, SchemaMismatch
from shards.geometry.view import View

FULL = View((24, 30), (10, 5, 50, 35), (30, 40), (7, 3, 32, 23), "pil_bicubic", True, (4, 5), (("gamma", 0.9),))


def test_view_survives_json() -> None:
    assert View.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL


def test_view_of_another_version_is_refused() -> None:
    record = FULL.to_json()
    del record["colour"]
    with pytest.raises(SchemaMismatch, match="written by another version"):
        View.from_json(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "cubic"}, "resize kernel 'cubic' is unknown"),
        ({"box_px": (10, 5, 10, 35)}, "box_px is"),
        ({"window_px": (7, 3, 41, 23)}, "inside 40 x 30 pixels"),
        ({"size_px": (24, 31)}, "they must agree"),
    ],
)
def test_view_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        View(**{**vars(FULL), **change})


def test_exact_is_one_whole_squashed_unflipped_view() -> None:
    plan = exact.build([96, 128])
    assert plan.views("any", 480, 640) == [View((96, 128), (0, 0, 640, 480), (96, 128), (0, 0, 128, 96))]
    assert plan.identity() == {"plan": "exact", "size_px": [96, 128], "kernel": "pil_bilinear"}


@pytest.mark.parametrize("size", [0, [512], "512", (512, 51.2)])
def test_exact_refuses_a_size_that_is_none(size: Any) -> None:
    with pytest.raises(ConfigError, match="size is"):
        exact.build(size)


def test_draws_depend_on_seed_key_and_index_and_on_nothing_else() -> None:
    def draw(seed: int, key: str, index: int) -> list[int]:
        return generator(seed, key, index).integers(0, 2**62, 4).tolist()

    first = draw(0, "a", 0)
    np.random.default_rng().random(100)
    assert draw(0, "a", 0) == first
    others = [draw(1, "a", 0), draw(0, "b", 0), draw(0, "a", 1), draw(0, "0\na", 0)]
    assert len({tuple(values) for values in [first, *others]}) == 5


def test_draws_are_the_same_on_every_machine_and_in_every_year() -> None:
    assert generator(3, "000000581857", 2).bit_generator.random_raw(2).tolist() == [
        7403579361871876757,
        12746361115995425992,
    ]
