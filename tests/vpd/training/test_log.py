"""What a run says of its steps."""

from __future__ import annotations

import json
from pathlib import Path

from vpd.training.log import RunLog, step_line


def test_a_line_ends_with_the_time_left_if_it_is_known() -> None:
    assert step_line(20, {"loss": 0.41234, "lr": 1e-5}, "train", 200, 92.3) == (
        "[train] step 20/200  loss 0.4123  lr 1.00e-05  1 min 33 s left"
    )
    assert step_line(200, {"oIoU": 0.5}, "val", 0, None) == "[val] step 200  oIoU 0.5"


def test_the_time_left_is_said_and_not_kept(tmp_path: Path) -> None:
    said: list[str] = []
    log = RunLog(tmp_path, echo=said.append)
    log.write(5, {"loss": 2.0}, total=10, left_s=3.0)
    log.close()
    assert said == ["[train] step 5/10  loss 2  3 s left"]
    entry = json.loads((tmp_path / "log.jsonl").read_text())
    assert set(entry) == {"step", "kind", "time_s", "loss"}
