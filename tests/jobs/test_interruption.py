"""A run that is asked to end saves and says how to go on; what it does then is what it would have done."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch
import yaml
from toy_jobs import train_here, train_settings

from jobs import interruption, program
from shards.errors import Interrupted
from tests import forked
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.end_request import EndRequest


def test_a_signal_is_noted_and_the_second_one_is_the_systems() -> None:
    then = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    with interruption.on_sigterm(then.set) as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        assert then.wait(5)
        assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_that_may_not_handle_signals_is_never_asked() -> None:
    found: list[bool] = []

    def look() -> None:
        with interruption.on_sigterm() as asked:
            found.append(asked())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize("url", ["{path}/runs/x", "memory://ends/x"])
def test_a_request_lies_in_the_runs_folder_until_it_is_withdrawn(url: str, tmp_path: Path) -> None:
    asks, sees = (EndRequest(url.format(path=tmp_path)) for _ in range(2))
    asks.withdraw()  # of none
    assert not sees.is_there()
    asks.make()
    assert sees.is_there()
    sees.withdraw()
    assert not asks.is_there()


def test_the_exit_status_tells_an_interruption_from_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: list[str]) -> None:
        raise Interrupted("ended at step 3. The same command goes on from there.")

    monkeypatch.setitem(sys.modules, "toy_job", types.SimpleNamespace(run=run))  # pyright: ignore[reportArgumentType]
    assert program.status("toy_job", []) == 143
    assert capsys.readouterr().err == "\nended at step 3. The same command goes on from there.\n"


def _train(config: str, said: str) -> None:
    """The command as a process, that says what it says in a file."""
    with open(said, "wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(program.status("jobs.train", ["--config", config]))


def test_a_process_that_is_sent_sigterm_saves_and_goes_on_as_if_nothing_had_been(
    sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    over = {"run.workers": 0, "loop.steps": 6, "loop.save_every_steps": 6, "data.val": ""}
    whole, ended = (
        train_settings(sets, tiny_sd, tmp_path, over={**over, "run.name": name}) for name in ("whole", "ended")
    )
    (tmp_path / "ended.yaml").write_text(yaml.safe_dump(ended))
    process = forked.started(_train, f"{tmp_path}/ended.yaml", f"{tmp_path}/said")
    log = tmp_path / "ended" / "log.jsonl"
    while process.is_alive() and not (log.exists() and log.read_text()):
        time.sleep(0.05)
    process.terminate()
    process.join(300)
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 143, said
    store = CheckpointStore(str(tmp_path / "ended"))
    step = store.named("last", "").step
    assert 1 <= step < 6
    assert f"ended at step {step} of 6, as it was asked to. Saved: " in said
    assert said.rstrip().endswith("The same command goes on from there.")
    assert "Traceback" not in said

    assert train_here(ended) == train_here(whole)
    undisturbed = CheckpointStore(str(tmp_path / "whole"))
    for stem in ("model", "optimizer"):
        one, two = (kept.load(kept.named("last", ""), stem) for kept in (store, undisturbed))
        assert set(one) == set(two)
        assert all(torch.equal(one[name], two[name]) for name in one)
