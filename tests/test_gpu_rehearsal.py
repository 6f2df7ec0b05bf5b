"""The script for a GPU, rehearsed: where it runs at last, minutes are few and nothing may be wrong with the script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_rates


@pytest.mark.timeout(600)
def test_every_line_runs_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert gpu.main(["--rehearse", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert all(check["holds"] for check in report["checks"])
    names = {check["name"] for check in report["checks"]}
    for kind in ("refer", "depth", "seg", "prompts"):
        assert {f"{kind}: scores of one checkpoint", f"{kind}: predictions of one picture"} <= names
    assert not [row for row in report["rates"] if "error" in row]
    assert report["not_reached"] == []
    assert len(report["rates"]) == len(list(gpu_rates.rates(gpu_rates.FULL, gpu_rates.torch.device("cpu"))))
    assert report["rehearsed"], "figures of a rehearsal are nobody's"


def test_a_check_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu_checks import Check

    wrong = Check("losses", 0.5, 1e-3)
    monkeypatch.setattr(gpu, "checks", lambda folder, device, steps: iter([wrong]))
    monkeypatch.setattr(gpu, "rates", lambda size, device: iter([]))
    out = tmp_path / "report.json"
    assert gpu.main(["--rehearse", "--out", str(out)]) == 1
    assert json.loads(out.read_text())["checks"] == [wrong.plain()]


def test_scores_are_apart_by_the_one_that_moved_most() -> None:
    from benchmarks.gpu_checks import scores_apart

    nothing = float("nan")
    assert scores_apart({"a": 1.0, "b": nothing}, {"a": 1.0, "b": nothing}) == 0
    assert scores_apart({"rmse": 2.2, "d1": 0.01}, {"rmse": 2.0, "d1": 0.0}) == pytest.approx(0.1)
    for found in ({"a": nothing}, {"b": 1.0}, {"a": float("inf")}):
        assert scores_apart(found, {"a": 1.0}) == float("inf")


def test_time_that_is_over_begins_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "checks", lambda folder, device, steps: iter([]))
    out = tmp_path / "report.json"
    assert gpu.main(["--rehearse", "--seconds", "0", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["rates"] == []
    assert "refer step, published" in report["not_reached"]
