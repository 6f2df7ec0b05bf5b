"""Runs held against each other."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from diffusion_perception.report.comparing import differences, repetitions, scores_of
from diffusion_perception.report.runs import read_run
from tests.diffusion_perception.report.runs_on_disk import write_run


def test_settings_that_differ_are_listed_and_those_of_the_place_are_not(tmp_path: Path) -> None:
    runs = [read_run(str(write_run(tmp_path, name, optim__lr=lr))) for name, lr in (("a", 1e-3), ("b", 1e-4))]
    assert differences(runs) == {"optim.lr": [1e-3, 1e-4]}
    assert differences(runs[:1]) == {}


def test_scores_are_the_best_validations_and_the_evaluations(tmp_path: Path) -> None:
    run = read_run(str(write_run(tmp_path, "a", scores={"rmse": 0.25, "d1": None})))
    assert scores_of(run) == {
        "validation: rmse": 0.5,
        "validation: d1": 0.5,
        "test: samples": 7,
        "test: rmse": 0.25,
    }


def test_seeds_of_one_configuration_are_one_group_with_mean_and_spread(tmp_path: Path) -> None:
    values = (0.5, 0.7, 0.9)
    runs = [
        read_run(str(write_run(tmp_path, f"s{seed}", rmse=(value,), loop__seed=seed)))
        for seed, value in enumerate(values)
    ]
    other = read_run(str(write_run(tmp_path, "other", loop__seed=3, optim__lr=1.0)))
    (group,) = repetitions([*runs, other])
    assert [run.name for run in group.runs] == ["s0", "s1", "s2"]
    assert group.seeds == [0, 1, 2]
    mean, spread = group.spread()["validation: rmse"]
    assert (mean, spread) == pytest.approx((0.7, statistics.stdev(values)))
    assert repetitions([runs[0], read_run(str(write_run(tmp_path, "again", rmse=(0.5,), loop__seed=0)))]) == []
