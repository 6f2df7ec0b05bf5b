"""What a run says of its steps."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from vpd.training.telemetry import log as log_module
from vpd.training.telemetry.log import RunLog, step_line


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


class FullDisk:
    """A file whose disk takes so many bytes and no more, until there is room."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Any:
        return self.file.__enter__()

    def __exit__(self, *known: object) -> None:
        self.file.__exit__(*known)


def test_a_full_disk_loses_no_line_and_cuts_none(tmp_path: Path) -> None:
    said: list[str] = []
    log = RunLog(tmp_path, echo=said.append)
    log.write(1, {"loss": 2.0})
    disk = log._lines._file = FullDisk(log._lines._file, room=20)  # pyright: ignore[reportAttributeAccessIssue]
    for step in (2, 3):
        log.write(step, {"loss": 2.0})
    with pytest.raises(OSError, match="No space left"):
        log.bring_to_safety()  # so no checkpoint is finished without them
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1]
    assert sum("log.jsonl could not be written, OSError" in line for line in said) == 1
    disk.room = 10_000
    log.write(4, {"loss": 2.0})
    log.bring_to_safety()
    log.close()
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2, 3, 4]


def test_curves_that_cannot_be_drawn_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*known: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_module, "SummaryWriter", full)
    log = RunLog(tmp_path, echo=lambda text: None)
    log.write(1, {"loss": 2.0})
    monkeypatch.undo()
    log.write(2, {"loss": 2.0})
    log.close()
    assert len(log.path.read_text().splitlines()) == 2
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_kill_while_old_lines_are_dropped_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        log = RunLog(tmp_path, resume_step=step - 1, echo=lambda text: None)
        log.write(step, {"loss": 2.0})
        log.close()
    before = log.path.read_text()

    def killed(*known: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shards.storage.atomic.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        RunLog(tmp_path, resume_step=1)
    assert log.path.read_text() == before
