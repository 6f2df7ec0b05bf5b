"""One line a stage, a file a job, and a job that fails is shown with what it said last."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any, TextIO, cast

import pytest

from demo.ray_head import RayHead
from demo.stages import Stages
from demo.starts import Start

STARTS = (
    Start("pre-trained weights", "tiny-sd"),
    Start("random weights", "tiny-sd-random", "-random", "backbone.model=demo_out/tiny-sd-random"),
)


class Head:
    """Says each job's words, and waits until as many jobs run at once as it was promised."""

    def __init__(self, at_once: int = 1) -> None:
        self.together = threading.Barrier(at_once)

    def submit(self, *words: str, echo: TextIO) -> subprocess.CompletedProcess[str]:
        self.together.wait(timeout=10)
        print(*words, file=echo)
        return subprocess.CompletedProcess(words, 1 if "bad.py" in words else 0, "\n".join(["first", *"x" * 60]), "")


def stages(folder: Path, head: Any) -> Stages:
    return Stages(cast(RayHead, head), folder / "logs", time.monotonic(), STARTS)


def test_a_task_is_trained_from_all_starts_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages(tmp_path, Head(at_once=2)).train("seg")
    (line,) = capsys.readouterr().out.splitlines()
    assert "seg: training from pre-trained weights and from random weights: 0 s" in line
    first, other = (tmp_path / f"logs/train_seg{suffix}.log" for suffix in ("", "-random"))
    assert "run.name=seg\n" in first.read_text()
    assert "backbone.model=demo_out/tiny-sd-random" in other.read_text()
    assert "backbone.model" not in first.read_text()


def test_a_failed_job_ends_the_demo_and_says_where_the_rest_is(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        stages(tmp_path, Head()).submit("seg: shards", build_seg="bad.py --config x")
    text = str(ended.value)
    assert "`ray job submit -- bad.py --config x` failed with exit status 1" in text
    assert str(tmp_path / "logs/build_seg.log") in text
    assert "  | x" in text
    assert "first" not in text
