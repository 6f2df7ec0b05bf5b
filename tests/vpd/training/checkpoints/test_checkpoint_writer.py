"""Checkpoints beside the steps: a snapshot, one write, and stores that refuse."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from shards.errors import NotSaved
from tests.toy_training import STEPS, final_tensors, toy_config, toy_train
from vpd.training.checkpoints import writer
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.checkpoints.writer import CheckpointWriter
from vpd.training.telemetry import mirror


class Refusing(CheckpointStore):
    """A store that is full, or fails, a number of times, in the middle of a checkpoint."""

    def __init__(self, url: str, steps: dict[int, int]) -> None:
        super().__init__(url)
        self.steps = steps  # step -> times it is refused

    def save(self, step: int, tensors: Any, state: Any, metrics: Any = None) -> Any:
        if self.steps.get(step, 0):
            self.steps[step] -= 1
            self.fs.makedirs(self.path_of(step))
            self.fs.pipe_file(f"{self.path_of(step)}/model.safetensors", b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().save(step, tensors, state, metrics)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer.time, "sleep", lambda seconds: None)


@pytest.fixture
def memory() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.rm("/runs", recursive=True)


def test_a_snapshot_is_of_its_moment(tmp_path: Path) -> None:
    gate = threading.Event()

    class Slow(CheckpointStore):
        def save(self, *known: Any) -> Any:
            gate.wait(10)
            return super().save(*known)

    weight, store = torch.ones(3), Slow(str(tmp_path))
    beside = CheckpointWriter(store, lambda: None, print)
    beside.begin(1, {"model": {"w": weight}}, {}, {})
    weight.fill_(2.0)  # the next step, while the first is still to be written
    assert store.latest() is None
    gate.set()
    beside.begin(2, {"model": {"w": weight}}, {}, {"rmse": float("nan")})
    beside.close()
    one, two = store.complete()
    assert store.load(one, "model")["w"].tolist() == [1, 1, 1]
    assert store.load(two, "model")["w"].tolist() == [2, 2, 2]
    assert two.metrics["rmse"] != two.metrics["rmse"]
    json.loads(Path(two.path, "checkpoint.json").read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("refusals", [1, 2, 3])
def test_a_store_that_refuses_is_asked_again(refusals: int, depth_set: Path, tmp_path: Path) -> None:
    said: list[str] = []
    whole = toy_train(tmp_path / "whole", toy_config(depth_set))
    store = Refusing(str(tmp_path / "run"), {6: refusals, STEPS: 1})
    assert toy_train(tmp_path / "run", toy_config(depth_set, keep_last=9), store=store, echo=said.append) == whole
    assert [checkpoint.step for checkpoint in store.complete()] == [3, 6, 9]
    assert sum("No space left on device" in line for line in said) == refusals + 1
    one, two = final_tensors(tmp_path / "whole"), final_tensors(tmp_path / "run")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_survives_a_checkpoint_that_cannot_be_written(depth_set: Path, tmp_path: Path) -> None:
    said: list[str] = []
    store = Refusing(str(tmp_path), {6: 99})
    toy_train(tmp_path, toy_config(depth_set), store=store, echo=said.append)
    assert [checkpoint.step for checkpoint in store.complete()] == [3, 9]
    assert any("checkpoint of step 6 was not written" in line and "going on without it" in line for line in said)
    assert not Path(store.path_of(6)).exists()  # half a checkpoint takes room


def test_the_last_checkpoint_must_be_written(depth_set: Path, tmp_path: Path) -> None:
    store = Refusing(str(tmp_path), {9: 99})
    with pytest.raises(NotSaved, match=r"step 9.*No space left.*the newest is .*step-000000006"):
        toy_train(tmp_path, toy_config(depth_set), store=store)


def test_old_checkpoints_that_cannot_be_deleted_stop_nothing(tmp_path: Path) -> None:
    said: list[str] = []

    def refuse() -> None:
        raise OSError("read-only")

    beside = CheckpointWriter(CheckpointStore(str(tmp_path)), refuse, said.append)
    beside.begin(1, {"model": {"w": torch.ones(1)}}, {}, {})
    beside.close()
    assert "old checkpoints could not be deleted, OSError: read-only" in said[0]


def test_each_byte_is_written_once_and_nothing_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))  # a temporary copy would fail
    store = CheckpointStore(str(tmp_path / "run"))
    made = store.save(1, {"model": {"w": torch.ones(3)}}, {})
    assert {path.name for path in Path(made.path).iterdir()} == {"model.safetensors", "state.json", "checkpoint.json"}


def test_a_run_behind_a_url_keeps_its_logs_and_goes_on(memory: Any, depth_set: Path, tmp_path: Path) -> None:
    config = toy_config(depth_set)
    whole = toy_train(tmp_path / "whole", config)
    store = CheckpointStore("memory://runs/toy")

    def lines() -> dict[int, float]:
        entries = map(json.loads, memory.cat_file("/runs/toy/log.jsonl").decode().splitlines())
        return {entry["step"]: entry["loss"] for entry in entries}

    toy_train(tmp_path / "a", toy_config(depth_set, stop_after_steps=4), store=store, read_losses=False)
    assert list(lines()) == [1, 2, 3, 4]
    toy_train(tmp_path / "b", config, store=store, read_losses=False)
    assert lines() == whole
    assert len([path for path in memory.find("/runs/toy/tensorboard") if "tfevents" in path]) == 2
    one, two = final_tensors(tmp_path / "whole"), store.load(store.named("last", ""), "model")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_log_of_a_checkpoint_is_there_before_it(memory: Any, depth_set: Path, tmp_path: Path) -> None:
    """So that a run killed at any moment lacks no line of the steps it does not train again."""
    seen: list[int] = []

    class Looking(CheckpointStore):
        def save(self, step: int, *rest: Any) -> Any:
            steps = [json.loads(line)["step"] for line in self.fs.cat_file(f"{self.root}/log.jsonl").splitlines()]
            seen.append(max(steps) - step)
            return super().save(step, *rest)

    toy_train(tmp_path, toy_config(depth_set), store=Looking("memory://runs/seen"), read_losses=False)
    assert len(seen) == 3
    assert min(seen) >= 0


def test_the_local_log_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory.makedirs("/runs/x")
    killed = tmp_path / f"{mirror.PREFIX}killed"
    (killed / "tensorboard").mkdir(parents=True)
    (killed / mirror.HELD).touch()
    living = mirror.Mirror("memory://runs/x", (), print)
    other = mirror.Mirror("memory://runs/x", (), print)
    assert not killed.exists()
    assert living.folder.is_dir()
    for one in (living, other):
        one.close()
    assert list(tmp_path.iterdir()) == []
    assert memory.find("/runs/x") == []


def test_a_log_that_cannot_be_copied_stops_nothing(
    memory: Any, depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*known: Any) -> None:
        raise OSError("no route to host")

    said: list[str] = []
    monkeypatch.setattr(type(memory), "put_file", refuse)
    store = CheckpointStore("memory://runs/lost")
    toy_train(tmp_path, toy_config(depth_set), store=store, echo=said.append, read_losses=False)
    assert sum("the log could not be copied to memory://runs/lost, OSError" in line for line in said) == 1
    assert store.named("last", "").step == STEPS
