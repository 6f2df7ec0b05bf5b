"""Runs that are killed, ended, or refused by their store at any moment, and then go on: the losses of every step and
the final weights and moments are those of an undisturbed run, to the last bit.

KILL_ROUNDS=60 plays more rounds than the usual ones, each at other moments.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests import forked
from tests.faulty_run import ENDED, NOT_SAVED, STEP_S, STEPS, config, train
from tests.toy_training import final_tensors, toy_losses, toy_train
from vpd.training.checkpoints.checkpoint import CheckpointStore

DISK_BYTES = 512 << 10
FULL = "could not be written"  # what a run says of its log


class Disturbed:
    """A run whose processes are started, disturbed, and started again."""

    def __init__(self, folder: Path, depth_set: Path, moments: random.Random) -> None:
        self.folder, self.depth_set, self.moments = folder, depth_set, moments

    def start(self, refusals: int = 0, slow_s: float = 0.0) -> BaseProcess:
        return self._started(refusals, slow_s, 0, 1)

    def start_two(self) -> list[BaseProcess]:
        self.folder.with_name(f"{self.folder.name}.meeting").unlink(missing_ok=True)
        return [self._started(0, 0.0, rank, 2) for rank in range(2)]

    def after(self, steps: int, process: BaseProcess) -> None:
        """Wait until the log holds so many steps, and then a little."""
        log = self.folder / "log.jsonl"
        self.until(process, lambda: log.exists() and log.read_text().count("\n") >= steps)
        time.sleep(self.moments.random() * 4 * STEP_S)

    @staticmethod
    def until(process: BaseProcess, condition: Callable[[], bool]) -> None:
        while process.is_alive() and not condition():
            time.sleep(0.002)

    def _started(self, *known: float) -> BaseProcess:
        return forked.started(train, str(self.folder), str(self.depth_set), *known)


def killed(*processes: BaseProcess) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def killed_twice(run: Disturbed) -> None:
    for least in (0, 8):
        process = run.start(refusals=run.moments.randrange(3), slow_s=run.moments.choice((0.0, 0.02)))
        run.after(least + run.moments.randrange(12), process)
        killed(process)
        assert process.exitcode == -signal.SIGKILL


def killed_in_a_checkpoint(run: Disturbed) -> None:
    step = run.moments.choice((4, 8, 12, 16))
    process = run.start(slow_s=0.2)
    half = run.folder / f"step-{step:09d}" / "optimizer.safetensors"
    run.until(process, half.exists)
    killed(process)
    newest = CheckpointStore(str(run.folder)).latest()
    assert (newest.step if newest else 0) == step - 4
    assert half.exists()  # what the next start sweeps


def asked_to_end(run: Disturbed) -> None:
    process = run.start()
    run.after(1 + run.moments.randrange(18), process)
    process.terminate()
    process.join()
    assert process.exitcode == ENDED
    newest = CheckpointStore(str(run.folder)).latest()
    assert newest is not None
    assert newest.step == max(toy_losses(run.folder))  # not a step is lost


def refused(run: Disturbed) -> None:
    """Twice, which a second attempt mends, or five times, which costs a checkpoint; and a kill."""
    process = run.start(refusals=run.moments.choice((2, 5)))
    run.after(14 + run.moments.randrange(10), process)
    killed(process)
    assert process.exitcode == -signal.SIGKILL  # until then it went on, whatever was refused


def full_disk(run: Disturbed) -> None:
    """No room for anything from some moment to another, on a small disk of its own where this machine allows one."""
    process = run.start()
    run.after(1 + run.moments.randrange(20), process)
    ballast, said = run.folder.parent / "ballast", Path(f"{run.folder}.said")
    with ballast.open("wb", buffering=0) as file:
        while not refuses(file.write, b"0" * 4096):
            pass
    run.until(process, lambda: "No space left" in said.read_text())
    assert "No space left" in said.read_text()
    if run.moments.random() < 0.5:
        killed(process)
    ballast.unlink()
    process.join()
    assert process.exitcode in (0, NOT_SAVED, -signal.SIGKILL)


def refuses(write: Callable[[bytes], object], data: bytes) -> bool:
    try:
        write(data)
    except OSError:
        return True
    return False


def one_of_two_killed(run: Disturbed) -> None:
    """The other one cannot go on, and ends by itself."""
    processes = run.start_two()
    run.after(1 + run.moments.randrange(20), processes[0])
    lost = run.moments.choice(processes)
    killed(lost)
    for process in processes:
        process.join()
    assert sorted(process.exitcode or 0 for process in processes) == [-signal.SIGKILL, 1]


def both_killed(run: Disturbed) -> None:
    """As where their driver is, and they with it."""
    processes = run.start_two()
    run.after(1 + run.moments.randrange(20), processes[0])
    killed(*processes)
    assert {process.exitcode for process in processes} == {-signal.SIGKILL}


ALONE = [killed_twice, killed_in_a_checkpoint, asked_to_end, refused, full_disk]
TWO = [one_of_two_killed, both_killed]
ROUNDS = int(os.environ.get("KILL_ROUNDS", 12))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many as the processes that are killed have: sums of several are other ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(depth_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    toy_train(folder, config(depth_set))
    return folder


@pytest.fixture(scope="module")
def whole_of_two(depth_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    finished_by_two(Disturbed(folder, depth_set, random.Random(0)))
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with little room."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this user may not mount a disk: `refused` stands for a full one")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def finished_by_two(run: Disturbed) -> None:
    processes = run.start_two()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0], Path(f"{run.folder}.said").read_text()[-2000:]


def equal(folder: Path, whole: Path) -> None:
    assert toy_losses(folder) == toy_losses(whole)
    assert list(toy_losses(folder)) == list(range(1, STEPS + 1))
    for stem in ("model", "optimizer"):
        one, two = final_tensors(whole, stem), final_tensors(folder, stem)
        assert set(one) == set(two)
        assert all(torch.equal(one[name], two[name]) for name in one)
    marked = {path.parent for path in folder.glob("step-*/checkpoint.json")}
    assert set(folder.glob("step-*")) == marked, "something half-written is left"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_goes_on_as_if_nothing_had_been(number: int, request: pytest.FixtureRequest, depth_set: Path) -> None:
    moments = random.Random(number)
    fault = (ALONE + TWO)[number % len(ALONE + TWO)]
    folder: Path = request.getfixturevalue("disk" if fault is full_disk else "tmp_path")
    run = Disturbed(folder / "run", depth_set, moments)
    fault(run)
    if fault in TWO:
        finished_by_two(run)
        equal(run.folder, request.getfixturevalue("whole_of_two"))
    else:
        toy_train(run.folder, config(depth_set))
        equal(run.folder, request.getfixturevalue("whole"))
