"""The printed table of an evaluation: a score over nothing is a dash; and where the scores are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from diffusion_perception import evaluation
from diffusion_perception.evaluation import EvaluateJob, evaluate, table
from tests.toy_runs import write_set


def test_sets_of_different_scores_share_a_table() -> None:
    results = {
        "checkpoint": "runs/x/step-000000002",
        "sets": {
            "refcoco-val": {"samples": 4, "oIoU": 0.5, "native/oIoU": 0.25},
            "grefcoco-val": {"samples": 12, "oIoU": 0.5, "gIoU": 0.125, "N_acc": float("nan")},
        },
    }
    header, *rows = (line.split() for line in table(results).splitlines()[1:])
    assert header == ["samples", "oIoU", "native/oIoU", "gIoU", "N_acc"]
    assert rows[0] == ["refcoco-val", "4", "0.5000", "0.2500", "-", "-"]
    assert rows[1] == ["grefcoco-val", "12", "0.5000", "-", "0.1250", "-"]


def test_nothing_is_written_to_a_model_that_was_published_elsewhere(
    model_folder: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("diffusion_perception.trained.at_hand", lambda place: model_folder("seg"))
    monkeypatch.setattr(evaluation, "_write", lambda path, *rest: pytest.fail(f"wrote {path}"))
    write_set(tmp_path / "set", "seg")
    job = EvaluateJob("hf://owner/seg", (str(tmp_path / "set"),), workers=0, limit=1)
    assert evaluate(job)["sets"]["set"]["samples"] == 1
    assert "name a file, out=FILE" in capsys.readouterr().out
    monkeypatch.undo()
    evaluate(EvaluateJob(model_folder("seg"), job.sets, workers=0, limit=1, out=str(tmp_path / "scores.json")))
    assert json.loads((tmp_path / "scores.json").read_text())["limit"] == 1
