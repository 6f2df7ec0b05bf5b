"""What a run tells of its steps: a trace of some, every group's rate, the share of the device's arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from toy_training import ToyNetwork, toy_config, toy_train

from benchmarks.counting import BARS_GFLOP, SLACK
from benchmarks.networks import build, made_up
from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.tasks import depth
from vpd.training.settings import LoopConfig
from vpd.training.telemetry.utilisation import operations, operations_per_s


def test_the_asked_steps_are_traced_into_the_run_folder(depth_set: Path, tmp_path: Path) -> None:
    said: list[str] = []
    toy_train(tmp_path, toy_config(depth_set, profile=(3, 4)), echo=said.append)
    events = json.loads((tmp_path / "trace_3_4.json").read_text())["traceEvents"]
    names = [event.get("name", "") for event in events]
    assert sum(name.startswith("Optimizer.step") for name in names) == 2
    assert "aten::conv2d" in names
    assert any("steps 3 to 4 traced: trace_3_4.json" in line for line in said)


def test_a_trace_that_the_run_ends_in_is_written(depth_set: Path, tmp_path: Path) -> None:
    toy_train(tmp_path, toy_config(depth_set, profile=(9, 40)))
    assert json.loads((tmp_path / "trace_9_40.json").read_text())["traceEvents"]


@pytest.mark.parametrize("steps", [(3,), (0, 2), (4, 3)])
def test_steps_that_cannot_be_traced_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"loop\.profile is \[.*the first and the last step"):
        LoopConfig(profile=steps)


def test_rates_and_utilisation_are_logged(depth_set: Path, tmp_path: Path) -> None:
    said: list[str] = []
    toy_train(tmp_path, toy_config(depth_set, mfu="always"), echo=said.append)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["kind"] == "train"]
    assert all(0 < line["mfu"] < 1 for line in trained)
    assert all(line["lr_rest"] == line["lr"] for line in trained)
    assert not any("lr_rest" in line for line in said), "on the console the largest rate is enough"


def test_operations_are_those_of_the_products() -> None:
    """Of the toy's two convolutions; the first needs no gradient of its input."""
    batch = DeviceBatch(
        torch.randn(3, 4, 8, 8), None, {"depth": torch.ones(3, 64, 64), "class_id": torch.zeros(3, dtype=torch.int64)}
    )
    first, last = (2 * 8 * 8 * 9 * channels for channels in (4 * 8, 8 * 1))
    assert operations(ToyNetwork(), depth.build(crop="none"), batch) == 2 * first + 3 * last


def test_operations_of_a_full_size_step() -> None:
    model, task = build("refer", device="meta")
    counted = operations(model.train(), task, made_up("refer", model, 1))
    assert counted is not None
    assert BARS_GFLOP["refer"] / SLACK <= counted / 1e9 <= BARS_GFLOP["refer"] * SLACK


def test_a_rate_is_measured() -> None:
    assert 1e8 < operations_per_s(torch.device("cpu"), torch.float32) < 1e14
