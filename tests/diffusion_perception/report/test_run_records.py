"""What a report reads of a run's folder, whole or not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import fsspec
import pytest

from diffusion_perception.report.runs import read_run
from shards.errors import ConfigError
from tests.diffusion_perception.report.runs_on_disk import write_run


def test_curves_scores_and_settings_are_what_the_run_wrote(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", scores={"rmse": 0.4, "d1": None})
    run = read_run(str(folder))
    assert (run.name, run.metric, run.higher_is_better) == ("a", "rmse", False)
    assert run.curve("val", "rmse") == ((10, 1.5), (20, 0.5), (30, 0.75))
    assert run.best == (20, 0.5)
    assert run.measured("train") == ["loss", "lr", "items_per_s", "wait_share"]
    assert run.evaluations["test"]["rmse"] == 0.4
    assert run.evaluations["test"]["step"] == 30
    assert math.isnan(run.evaluations["test"]["d1"])
    assert run.settings["run.name"] == "a"
    assert run.settings["task.name"] == "depth"


def test_a_score_over_nothing_is_no_point_and_never_the_best(tmp_path: Path) -> None:
    run = read_run(str(write_run(tmp_path, "a", rmse=(None, 0.9, None))))
    assert run.curve("val", "rmse") == ((20, 0.9),)
    assert run.best == (20, 0.9)
    assert read_run(str(write_run(tmp_path, "b", rmse=()))).best is None


def test_of_two_evaluations_of_a_set_the_later_steps_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", scores={"rmse": 0.4})
    older = {"step": 9, "sets": {"test": {"rmse": 9.0}, "other": {"rmse": 3.0}}}
    (folder / "evaluation-step-9.json").write_text(json.dumps(older))
    found = read_run(str(folder)).evaluations
    assert found["test"]["rmse"] == 0.4
    assert found["other"] == {"step": 9, "rmse": 3.0}


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a")
    log = folder / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 40, "kind": "va')
    assert len(read_run(str(folder)).lines) == 6
    log.unlink()
    assert read_run(str(folder)).lines == ()


def test_a_run_behind_a_url_is_the_same(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", scores={"rmse": 0.4})
    fsspec.filesystem("memory").put(str(folder), f"/{tmp_path.name}/a", recursive=True)
    far, near = read_run(f"memory://{tmp_path.name}/a"), read_run(str(folder))
    assert (far.lines, far.evaluations, far.state) == (near.lines, near.evaluations, near.state)


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no finished checkpoint.*run\.out/run\.name"):
        read_run(str(tmp_path))
    folder = write_run(tmp_path, "a")
    (folder / "evaluation-step-30.json").write_text('{"step": 30, "sets": 5}')
    with pytest.raises(ConfigError, match=r"evaluation-step-30\.json: is not what `evaluate` writes"):
        read_run(str(folder))


def test_damaged_checkpoints_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a")
    weights = folder / "step-000000030" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"damaged: step 30: .*model\.safetensors: has"):
        read_run(str(folder))
