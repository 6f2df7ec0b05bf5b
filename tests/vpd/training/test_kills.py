"""Runs that are killed, ended, or refused by their store at any moment, and then go on: the losses of every step and
the final weights and moments are those of an undisturbed run, to the last bit."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.faulty_run import ENDED, STEP_S, STEPS, config, train
from tests.toy_training import final_tensors, toy_losses, toy_train
from vpd.training.checkpoint import CheckpointStore

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> None:
    """One process imports torch and then becomes every run, which a start from nothing would take seconds for."""
    PROCESSES.set_forkserver_preload(["tests.faulty_run", "torch._dynamo"])  # optimisers load the latter
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(ROOT))
        forkserver.ensure_running()


def started(folder: Path, depth_set: Path, refusals: int = 0, slow_s: float = 0.0) -> BaseProcess:
    process = PROCESSES.Process(target=train, args=(str(folder), str(depth_set), refusals, slow_s))
    process.start()
    return process


def after(folder: Path, steps: int, process: BaseProcess) -> None:
    """Wait until the log holds so many steps."""
    log = folder / "log.jsonl"
    while process.is_alive() and not (log.exists() and log.read_text().count("\n") >= steps):
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(depth_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    toy_train(folder, config(depth_set))
    return folder


def goes_on_as_if_nothing_had_been(folder: Path, whole: Path, depth_set: Path) -> None:
    """Finish the run in this process, and compare."""
    assert CheckpointStore(str(folder)).latest() is None or torch.isfinite(final_tensors(folder)["last.weight"]).all()
    assert toy_train(folder, config(depth_set)) == toy_losses(whole)
    assert list(toy_losses(folder)) == list(range(1, STEPS + 1))
    for stem in ("model", "optimizer"):
        one, two = final_tensors(whole, stem), final_tensors(folder, stem)
        assert set(one) == set(two)
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("number", range(5))
def test_killed_twice_at_random(number: int, whole: Path, depth_set: Path, tmp_path: Path) -> None:
    moments = random.Random(number)
    for least in (0, 8):
        process = started(tmp_path, depth_set, refusals=moments.randrange(3), slow_s=moments.choice((0.0, 0.02)))
        after(tmp_path, least + moments.randrange(12), process)
        time.sleep(moments.random() * 4 * STEP_S)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    goes_on_as_if_nothing_had_been(tmp_path, whole, depth_set)


def test_killed_in_the_middle_of_a_checkpoint(whole: Path, depth_set: Path, tmp_path: Path) -> None:
    process = started(tmp_path, depth_set, slow_s=0.2)
    half = tmp_path / "step-000000008" / "optimizer.safetensors"
    while process.is_alive() and not half.exists():
        time.sleep(0.002)
    process.kill()
    process.join()
    newest = CheckpointStore(str(tmp_path)).latest()
    assert newest is not None
    assert newest.step == 4
    goes_on_as_if_nothing_had_been(tmp_path, whole, depth_set)


@pytest.mark.parametrize("least", [1, 13])
def test_asked_to_end(least: int, whole: Path, depth_set: Path, tmp_path: Path) -> None:
    process = started(tmp_path, depth_set)
    after(tmp_path, least, process)
    process.terminate()
    process.join()
    assert process.exitcode == ENDED
    newest = CheckpointStore(str(tmp_path)).latest()
    assert newest is not None
    assert newest.step == max(toy_losses(tmp_path))  # not a step is lost
    goes_on_as_if_nothing_had_been(tmp_path, whole, depth_set)


@pytest.mark.parametrize("refusals", [2, 5], ids=["refuses twice", "full for a checkpoint and more"])
def test_a_store_that_refuses_and_a_kill(refusals: int, whole: Path, depth_set: Path, tmp_path: Path) -> None:
    process = started(tmp_path, depth_set, refusals=refusals)
    after(tmp_path, 20, process)
    process.kill()
    process.join()
    goes_on_as_if_nothing_had_been(tmp_path, whole, depth_set)
