"""The page of several runs that have little in common."""

from __future__ import annotations

from pathlib import Path

from diffusion_perception.report.page import page
from diffusion_perception.report.runs import read_run
from tests.diffusion_perception.report.runs_on_disk import write_run


def test_runs_of_different_tasks_are_on_one_page_each_with_its_own_score(tmp_path: Path) -> None:
    runs = [read_run(str(write_run(tmp_path, task, task=task))) for task in ("depth", "seg")]
    text = page(runs)
    assert "<td>best validation</td><td>rmse 0.5 at step 20</td><td>not validated</td>" in text
    assert "<td>task</td><td>depth</td><td>seg</td>" in text
