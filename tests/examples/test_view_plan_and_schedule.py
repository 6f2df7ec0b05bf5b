"""The view plan and the schedule of examples/outside work from a package that has nothing to do with this project."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from diffusion_perception import plugins
from pipeline.rendering.geometry import render
from shards.errors import ConfigError
from shards.geometry.view import cut_label

OUTSIDE = Path(__file__).resolve().parents[2] / "examples" / "outside"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own package with the examples, importable from a folder of their own; its name."""
    shutil.copytree(OUTSIDE, tmp_path / "somebodys_parts")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "somebodys_parts"


def test_the_view_plan_shows_both_halves(mine: str) -> None:
    plan = plugins.build_plugin(plugins.VIEWS, {"name": f"{mine}.halves", "size": 8}, "views")
    views = plan.views("a", 8, 16)
    assert len(views) == plan.views_per_image
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 200
    shown = [render(image, view) for view in views]
    assert [(part.shape, int(part.min()), int(part.max())) for part in shown] == [
        ((8, 8, 3), 0, 0),
        ((8, 8, 3), 200, 200),
    ]
    assert np.array_equal(cut_label(image[..., 0], views[1]), shown[1][..., 0])
    assert plan.identity() == {"plan": "halves", "size_px": [8, 8]}


def test_the_schedule_falls_from_one_to_its_floor(mine: str) -> None:
    setting = {"name": f"{mine}.cosine", "floor": "1e-1"}  # as YAML reads it
    curve = plugins.build_plugin(plugins.SCHEDULES, setting, "optim.schedule", 100, 10.0)
    factors = [curve(step) for step in range(101)]
    assert (factors[0], factors[100]) == (1.0, pytest.approx(0.1))
    assert factors[50] == pytest.approx(0.55)
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (plugins.VIEWS, {"name": "halves", "sise": 8}, r"unknown setting 'x.sise'. Did you mean 'size'\?"),
        (plugins.VIEWS, {"name": "halves", "size": "broad"}, "setting 'x.size' is 'broad'; expected int"),
        (plugins.SCHEDULES, {"name": "cosine", "floor": 2}, "floor is 2.0; expected a share"),
    ],
)
def test_their_options_are_checked_like_those_of_our_own_parts(
    mine: str, kind: str, options: dict[str, object], message: str
) -> None:
    given = (100, 10.0) if kind == plugins.SCHEDULES else ()
    with pytest.raises(ConfigError, match=message):
        plugins.build_plugin(kind, {**options, "name": f"{mine}.{options['name']}"}, "x", *given)
