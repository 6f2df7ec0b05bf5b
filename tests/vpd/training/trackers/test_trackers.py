"""A tracker is told what the log is told, is the same run at every start, and stops no training; what wandb is told."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from PIL import Image

from shards.errors import ConfigError
from vpd.training.telemetry.log import RunLog
from vpd.training.trackers import IDENTITY, AboutRun, identity_of, wandb


class Told:
    """A tracker that keeps what it is told, and fails when it should."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.fails = False

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self.fails:
            raise ConnectionError("the service is gone")
        self.heard.append((kind, step, dict(values)))

    def show(self, step: int, name: str, jpeg: bytes) -> None:
        self.heard.append((name, step, len(jpeg)))

    def close(self) -> None:
        self.heard.append("closed")


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    said: list[str] = []
    log = RunLog(tmp_path / "run", echo=said.append)
    log.said = said  # pyright: ignore[reportAttributeAccessIssue]
    return log


def test_a_tracker_is_told_all_that_the_log_is_told(log: RunLog) -> None:
    told = Told()
    log.track(told)
    log.write(1, {"loss": 0.5, "bad": float("nan")}, unsaid={"lr_head": 1e-3})
    log.write(2, {"rmse": 0.25}, "val")
    log.show(2, "a", picture())
    log.close()
    assert told.heard == [
        ("train", 1, {"loss": 0.5, "lr_head": 1e-3}),
        ("val", 2, {"rmse": 0.25}),
        ("a", 2, len(picture())),
        "closed",
    ]


def test_a_tracker_that_fails_is_left_and_the_log_goes_on(log: RunLog) -> None:
    told = Told()
    log.track(told)
    told.fails = True
    log.write(1, {"loss": 0.5})
    told.fails = False
    log.write(2, {"loss": 0.25})
    log.close()
    assert told.heard == []
    assert len(log.path.read_text().splitlines()) == 2
    assert [line for line in log.said if "told no more" in line] == [  # pyright: ignore[reportAttributeAccessIssue]
        "run.track is told no more, ConnectionError: the service is gone; log.jsonl has all"
    ]


def test_a_run_is_the_same_at_every_start_and_no_other(tmp_path: Path) -> None:
    files = fsspec.filesystem("file")
    first, other = (identity_of(files, str(tmp_path / name)) for name in ("a", "b"))
    assert identity_of(files, str(tmp_path / "a")) == first != other
    (tmp_path / "a" / IDENTITY).write_text("")  # killed as it was written
    made = identity_of(files, str(tmp_path / "a"))
    assert made
    assert identity_of(files, str(tmp_path / "a")) == made


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What of the library `wandb` is called here."""
    run = SimpleNamespace(logged=[], over=[], ended=False)
    run.log = run.logged.append
    run.define_metric = lambda name, step_metric: run.over.append((name, step_metric))
    run.finish = lambda: setattr(run, "ended", True)

    def init(**said: Any) -> Any:
        module.said = said
        return run

    module = SimpleNamespace(
        init=init,
        Settings=lambda **said: said,
        Image=lambda image: ("image", image.size),
        run=run,
        said={},
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def about(folder: Path) -> AboutRun:
    return AboutRun("a-run", "0123456789abcdef", folder, {"optim": {"lr": 1e-3}})


def test_wandb_goes_on_with_the_run_and_draws_over_its_steps(service: SimpleNamespace, tmp_path: Path) -> None:
    tracker = wandb.build(about(tmp_path), project="depth", mode="offline")
    said = service.said
    assert (said["id"], said["resume"], said["name"], said["project"]) == (
        "0123456789abcdef",
        "allow",
        "a-run",
        "depth",
    )
    assert (said["mode"], said["entity"], said["config"]) == ("offline", None, {"optim": {"lr": 1e-3}})
    assert said["settings"]["disable_code"]
    assert said["settings"]["finish_timeout"] > 0, "without one, the end of a training waits for a service that is gone"
    tracker.log("train", 7, {"loss": 0.5})
    tracker.show(7, "000001", picture())
    tracker.close()
    assert service.run.over == [("*", "step")]
    assert service.run.logged == [
        {"step": 7, "train/loss": 0.5},
        {"step": 7, "pictures/000001": ("image", (9, 7))},
    ]
    assert service.run.ended


def test_what_keeps_wandb_from_beginning_is_said_before_the_training(
    service: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**said: Any) -> Any:
        raise PermissionError("api_key not configured")  # not all that it raises is wandb.Error

    service.init = refused
    with pytest.raises(ConfigError, match=r"api_key not configured(.|\n)*mode: offline"):
        wandb.build(about(tmp_path))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[wandb\]'"):
        wandb.build(about(tmp_path))


def test_the_library_itself_writes_files_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the library wandb is not installed (the extra wandb)")
    tracker = wandb.build(about(tmp_path), mode="offline")
    for step in (1, 2, 1):  # a run that went back
        tracker.log("train", step, {"loss": 1 / step})
    tracker.show(2, "000001", picture())
    tracker.close()
    (written,) = (tmp_path / "wandb").glob("offline-run-*-0123456789abcdef")
    assert list(written.glob("*.wandb"))
    assert list((written / "files/media/images/pictures").glob("*.png"))


def test_a_training_tells_the_tracker_that_its_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: SimpleNamespace
) -> None:
    """`_tracker_of`, as `train` calls it, twice: the second start goes on with the same run."""
    from diffusion_perception.settings import bind
    from diffusion_perception.train_job import TrainJob
    from diffusion_perception.training import _tracker_of
    from tests.toy_runs import run_settings
    from vpd.training.checkpoints.checkpoint import CheckpointStore

    settings = run_settings("depth", tmp_path / "set", tmp_path / "model", tmp_path)
    settings["run"]["track"] = {"name": "wandb", "project": "p"}
    job = bind(TrainJob, settings)
    begun: list[str] = []
    for _ in range(2):
        log = RunLog(job.folder, echo=lambda text: None)
        make: Callable[..., Any] = _tracker_of
        log.track(make(job, CheckpointStore(job.folder), log))
        begun.append(service.said["id"])
        log.close()
    assert begun[0] == begun[1]
    assert service.said["config"]["run"]["track"] == {"name": "wandb", "project": "p"}
    with pytest.raises(ConfigError, match=r"unknown setting 'run\.track\.projekt'"):
        bind(TrainJob, {**settings, "run": {**settings["run"], "track": {"name": "wandb", "projekt": "p"}}})
