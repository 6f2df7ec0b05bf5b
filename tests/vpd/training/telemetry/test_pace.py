"""The speed of a run is that of its steps, whatever else happens between them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.training import run
from vpd.training.telemetry.pace import Pace


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_apart_does_not_count_and_waiting_does() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    batches = pace.waiting(iter(["a", "b"]))
    clock.now_s = 1.0
    assert next(batches) == "a"
    clock.now_s = 3.0
    with pace.apart():
        clock.now_s = 103.0
    clock.now_s = 104.0
    assert pace.read(12) == (2 / 4, 0.0)
    clock.now_s = 106.0
    assert pace.read(13) == (1 / 2, 0.0)


def test_waiting_is_told() -> None:
    clock = Clock()
    pace = Pace(0, clock)

    def slow() -> object:
        clock.now_s += 3.0
        yield "batch"

    assert list(pace.waiting(slow())) == ["batch"]  # pyright: ignore[reportArgumentType]
    clock.now_s += 1.0
    assert pace.read(1) == (1 / 4, 3 / 4)


@pytest.mark.parametrize("saves", [0, 3])
def test_evaluations_do_not_slow_the_steps_down(
    saves: int, depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without a checkpoint after them."""
    slept_s = 0.0

    def slow(*parts: object) -> dict[str, float]:
        nonlocal slept_s
        slept_s += 1000.0
        return {"rmse": 1.0}

    monkeypatch.setattr(run, "validate", slow)
    monkeypatch.setattr(run, "Pace", lambda step: Pace(step, lambda: time.perf_counter() + slept_s))
    config = toy_config(depth_set, steps=4, eval_every_steps=1, save_every_steps=saves or 99)
    toy_train(tmp_path, config, evaluated=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    speeds = [line["items_per_s"] for line in lines if line["kind"] == "train"]
    assert len(speeds) == 4
    assert min(speeds[1:]) > 2 / 900  # a batch of two, and 1,000 s of evaluation after each


def test_a_compiled_run_tells_what_its_first_step_took(depth_set: Path, tmp_path: Path) -> None:
    class Compiled(ToyNetwork):
        """Nothing to compile here; 0.6 s for doing so at the first step."""

        compiles = False

        def compile_blocks(self) -> None:
            self.compiles = True

        def forward(self, *inputs: Any) -> torch.Tensor:
            if self.compiles:
                time.sleep(0.6)
                self.compiles = False
            return super().forward(*inputs)

    said: list[str] = []
    toy_train(tmp_path, toy_config(depth_set, steps=2, compile=True), Compiled(), echo=said.append)
    (line,) = (line for line in said if "compiles, took" in line)
    assert float(line.split()[-2]) >= 1  # of 0.6, rounded, on a machine as slow as it likes
