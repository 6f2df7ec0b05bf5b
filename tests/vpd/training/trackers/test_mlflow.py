"""What an MLflow store holds of a run, that its faults end no training, and that nobody reads its password.

Numbers, pictures and settings go through the library itself into a store of files, or to the server that
DIFFUSION_PERCEPTION_MLFLOW names (CONTRIBUTING.md).
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shards.errors import ConfigError, Interrupted
from tests.vpd.training.trackers.mlflow_server import MlflowServer, serving
from vpd.training.telemetry.log import RunLog
from vpd.training.trackers import AboutRun, mlflow

SERVER = "DIFFUSION_PERCEPTION_MLFLOW"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of this machine, and what is set here is forgotten afterwards."""
    for name in (
        "TRACKING_URI",
        "TRACKING_USERNAME",
        "TRACKING_PASSWORD",
        "TRACKING_TOKEN",
        "HTTP_REQUEST_MAX_RETRIES",
    ):
        monkeypatch.setenv(f"MLFLOW_{name}", "")
        monkeypatch.delenv(f"MLFLOW_{name}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow no longer works on


@pytest.fixture
def store(tmp_path: Path) -> str:
    return os.environ.get(SERVER) or (tmp_path / "mlruns").as_uri()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    with serving(tmp_path / "artifacts") as server:
        yield server


def about(folder: Path, **settings: Any) -> AboutRun:
    return AboutRun("a-run", secrets.token_hex(8), folder, settings or {"optim": {"lr": 1e-3}})


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7)).save(file, "JPEG")
    return file.getvalue()


class Kept:
    """What a store has of one experiment."""

    def __init__(self, store: str, experiment: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=store)
        known = self.client.get_experiment_by_name(experiment)
        assert known is not None
        self.experiment_id = known.experiment_id

    def run(self) -> Any:
        (run,) = self.client.search_runs([self.experiment_id])
        return run

    def files(self, folder: str = "") -> list[str]:
        return [file.path for file in self.client.list_artifacts(self.run().info.run_id, folder or None)]

    def curve(self, name: str) -> list[tuple[int, float]]:
        points = self.client.get_metric_history(self.run().info.run_id, name)
        return sorted((point.step, point.value) for point in points)


def test_numbers_pictures_and_settings_of_a_training_are_kept_and_a_later_start_goes_on(
    store: str, tmp_path: Path
) -> None:
    """`_tracker_of`, as `train` calls it, twice: the second time with another learning rate."""
    from diffusion_perception.settings import bind
    from diffusion_perception.train_job import TrainJob
    from diffusion_perception.training import _tracker_of
    from tests.toy_runs import run_settings
    from vpd.training.checkpoints.checkpoint import CheckpointStore

    experiment = f"depth {secrets.token_hex(4)}"
    settings = run_settings("depth", tmp_path / "set", tmp_path / "model", tmp_path)
    settings["run"]["track"] = {"name": "mlflow", "tracking_uri": store, "experiment": experiment, "run_name": "first"}
    for step, lr in ((1, 1e-3), (2, 5e-4), (3, 5e-4), (4, 1e-3)):
        settings["optim"] = {**settings.get("optim", {}), "lr": lr}
        job = bind(TrainJob, settings)
        log = RunLog(job.folder, step - 1, echo=lambda text: None)
        log.track(_tracker_of(job, CheckpointStore(job.folder), log))
        log.write(step, {"loss": 1 / step, "gone": float("nan")}, unsaid={"lr head@2": lr})
        log.write(step, {"iou/a person": 0.25}, "val")
        if step == 2:
            log.show(step, "000001", picture())
        log.close()
        run = Kept(store, experiment).run()
        tag = run.data.tags.get("changed.optim.lr")
        assert (run.data.params["optim.lr"], tag) == ("0.001", {1: None, 4: "0.001"}.get(step, "0.0005"))
    kept = Kept(store, experiment)
    assert kept.curve("train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert kept.curve("train/lr head_2")[1] == (2, 5e-4)
    assert kept.curve("val/iou/a person")[0] == (1, 0.25)
    assert "train/gone" not in run.data.metrics
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.info.end_time >= run.info.start_time
    assert run.data.params["run.track.experiment"] == experiment
    shown = [file for file in kept.files("images") if file.endswith(".png")]
    assert len(shown) == 1
    assert "pictures~000001+step+2+" in shown[0]
    local = kept.client.download_artifacts(run.info.run_id, "settings.json", str(tmp_path))
    assert json.loads(Path(local).read_text())["optim"]["lr"] == 1e-3


def test_settings_of_every_kind_are_kept(store: str, tmp_path: Path) -> None:
    odd = {"words": ["a", 1], "none": None, "empty": "", "map": {}, "a/b@c": True, "long": "x" * 10_000}
    odd |= {"one@": 1, "one#": 2, "y" * 400: 3}
    many = {f"k{number}": number for number in range(230)}  # more than a server takes at once
    experiment = f"odd {secrets.token_hex(4)}"
    names = ("a/../b", "..", "/a", "a/", "z" * 400)
    tracker = mlflow.build(about(tmp_path, odd=odd, many=many), tracking_uri=store, experiment=experiment)
    for name in names:
        tracker.log("val", 1, {name: 0.5})
    tracker.close()
    assert len(Kept(store, experiment).run().data.metrics) == len(names)
    params = Kept(store, experiment).run().data.params
    expected = {"words": '["a", 1]', "none": "null", "empty": "", "map": "{}", "a_b_c": "true"}
    assert {name: params[f"odd.{name}"] for name in expected} == expected
    assert params["odd.long"] == "x" * mlflow.MOST_LETTERS
    assert params["odd.one_"] in ("1", "2"), "settings.json has both"
    assert {name: int(params[f"many.{name}"]) for name in many} == many


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError("a"), "FAILED"), (Interrupted("asked to"), "KILLED")]
)
def test_how_a_run_ended_is_kept(store: str, tmp_path: Path, error: Exception | None, status: str) -> None:
    experiment = f"ended {secrets.token_hex(4)}"
    log = RunLog(tmp_path / "run", echo=lambda text: None)
    log.track(mlflow.build(about(tmp_path), tracking_uri=store, experiment=experiment))
    try:
        try:
            if error:
                raise error
        finally:
            log.close()
    except type(error or ValueError()):
        pass
    assert Kept(store, experiment).run().info.status == status


def test_an_experiment_that_was_deleted_is_refused(store: str, tmp_path: Path) -> None:
    experiment = f"deleted {secrets.token_hex(4)}"
    mlflow.build(about(tmp_path), tracking_uri=store, experiment=experiment).close()
    kept = Kept(store, experiment)
    kept.client.delete_experiment(kept.experiment_id)
    with pytest.raises(ConfigError, match="is deleted there: restore it, or name another"):
        mlflow.build(about(tmp_path), tracking_uri=store, experiment=experiment)


def test_no_step_waits_for_a_server_and_one_that_fails_is_left_with_one_line(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = RunLog(tmp_path / "run", echo=said.append)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter22")
    tracker = mlflow.build(about(tmp_path), tracking_uri=server.address)
    log.track(tracker)
    server.answers.clear()  # it takes connections and keeps silent
    for step in range(1, 30):
        log.write(step, {"loss": 1 / step})
    log.show(29, "000001", picture())
    server.status, server.says = 400, "who are you,\nhunter22?"
    server.answers.set()
    with pytest.raises(ConnectionError):
        tracker.close()  # waits
    log.write(30, {"loss": 0.0})
    log.close()
    told = [line for line in said if "told no more" in line]
    assert len(told) == 1
    assert "who are you, ***?" in told[0]
    assert "hunter22" not in " ".join(said)
    assert server.calls("runs/log-batch") == 2, "the settings, and the one step that failed"
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 30


def test_the_end_of_a_training_waits_so_long_and_no_longer(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = mlflow.build(about(tmp_path), tracking_uri=server.address)
    server.answers.clear()
    monkeypatch.setattr(mlflow, "SECONDS_AT_END", 0.2)
    tracker.log("train", 1, {"loss": 0.5})
    with pytest.raises(ConnectionError, match=r"did not take all within 0\.2 seconds"):
        tracker.close()


@pytest.mark.parametrize("fault", ["silent", "refused", "no entry"])
def test_a_server_that_lets_no_run_begin_is_said_before_the_training(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    address = server.address.replace("//", "//somebody:hunter22@")
    expected = {"silent": "no answer within 0.2 seconds", "refused": "efused", "no entry": "401.*|not for you"}[fault]
    if fault == "silent":
        server.answers.clear()
        monkeypatch.setattr(mlflow, "SECONDS", 0.2)
    if fault == "refused":
        address = address.replace(str(server.server_port), "9")  # where nothing listens
    server.status, server.says = 401, "not for you, hunter22"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=f"mlflow does not begin a run at http.*({expected})") as raised:
        mlflow.build(about(tmp_path))
    assert "hunter22" not in f"{raised.value} {raised.value.__cause__} {raised.value.__context__}"


def test_user_and_password_come_from_the_environment_and_nobody_reads_them(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("//", "//some%40body:hunter22@"))
    tracker = mlflow.build(about(tmp_path))
    tracker.log("train", 1, {"loss": 0.5})
    tracker.close()
    basic = "Basic " + base64.b64encode(b"some@body:hunter22").decode()
    assert {said for called, said in server.heard if called.startswith("runs/")} == {basic}
    assert "hunter22" not in "".join(capfd.readouterr())
    with pytest.raises(ConfigError, match=r"run\.track\.tracking_uri' is a URL with a password") as raised:
        mlflow.build(about(tmp_path), tracking_uri="http://me:hunter22@host")
    assert "hunter22" not in str(raised.value)


def test_a_token_with_a_newline_which_no_header_takes_is_not_shown(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter22\n")  # as a mounted secret often ends
    with pytest.raises(ConfigError, match=r"header value: 'Bearer \*\*\*") as raised:
        mlflow.build(about(tmp_path), tracking_uri=server.address)
    assert "hunter22" not in str(raised.value)


def test_an_address_that_is_no_url_is_said_without_what_may_be_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"run\.track\.tracking_uri' is http://…, whose host"):
        mlflow.build(about(tmp_path), tracking_uri="http://me:hunter[22@host")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter[22@host")
    with pytest.raises(ConfigError, match=r"does not begin a run at http://\*\*\*: ") as raised:
        mlflow.build(about(tmp_path))
    assert "hunter" not in str(raised.value)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"needs the address of its server.*MLFLOW_TRACKING_URI"):
        mlflow.build(about(tmp_path))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[mlflow\]'"):
        mlflow.build(about(tmp_path), tracking_uri="http://host")


def test_the_library_reports_to_nobody_unless_somebody_says_so(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in mlflow.QUIET:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_AGENT_HINT", "false")
    mlflow.build(about(tmp_path), tracking_uri=server.address).close()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_DISABLE_AGENT_HINT"] == "false"
