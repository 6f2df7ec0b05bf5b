"""Gauges of a run: what a report says is set under the run's name, and nothing that is not finite."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import pytest

from jobs.train_gauges import TrainGauges


class ToyGauge:
    """Remembers what it was set to, and refuses tags it was not made with, as Ray's does."""

    values: dict[tuple[str, ...], float]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys
        assert description

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tuple(tags) == self.tag_keys
        self.values[self.name, *tags.values()] = value


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    module = ModuleType("ray.util.metrics")
    module.__dict__["Gauge"] = ToyGauge
    monkeypatch.setitem(sys.modules, "ray.util.metrics", module)
    monkeypatch.setattr(ToyGauge, "values", {}, raising=False)
    return ToyGauge.values


def test_a_report_is_a_step_and_scores_of_the_run(values: dict[Any, float]) -> None:
    gauges = TrainGauges("refcoco-vpd")
    gauges.say(40, {"oIoU": 0.5, "mIoU": math.nan, "step": 40.0})
    assert values == {
        ("perception_train_step", "refcoco-vpd"): 40,
        ("perception_train_score", "refcoco-vpd", "oIoU"): 0.5,
    }
    gauges.say(None, {"oIoU": 0.6})
    assert values["perception_train_step", "refcoco-vpd"] == 40
    assert values["perception_train_score", "refcoco-vpd", "oIoU"] == 0.6
