"""`loop.deterministic`: torch's switches within a run and after it, and one error where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from shards.errors import ConfigError
from tests.toy_training import ToyNetwork, final_tensors, toy_config, toy_train
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.step.determinism import WORKSPACE, same_bits

CUDNN: Any = torch.backends.cudnn


def switches() -> tuple[bool, bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), CUDNN.deterministic, CUDNN.benchmark


@pytest.mark.parametrize("wanted", [False, True])
def test_the_switches_are_of_the_run(wanted: bool, depth_set: Path, tmp_path: Path) -> None:
    seen = set()
    before = switches()

    class Watched(ToyNetwork):
        def forward(self, *inputs: Any) -> torch.Tensor:
            seen.add(switches())
            return super().forward(*inputs)

    toy_train(tmp_path, toy_config(depth_set, deterministic=wanted, steps=2), Watched())
    assert seen == {(True, True, False) if wanted else before}
    assert switches() == before


def test_an_operation_without_such_a_form_is_named(depth_set: Path, tmp_path: Path) -> None:
    class Scattering(ToyNetwork):
        def forward(self, *inputs: Any) -> torch.Tensor:
            torch.zeros(3).put_(torch.tensor([1, 1]), torch.ones(2))
            return super().forward(*inputs)

    before = switches()
    with pytest.raises(ConfigError, match=r"uses put_, which torch has no deterministic form of on cpu"):
        toy_train(tmp_path, toy_config(depth_set, deterministic=True), Scattering())
    assert switches() == before
    assert CheckpointStore(str(tmp_path)).latest() is None
    toy_train(tmp_path, toy_config(depth_set, steps=1), Scattering())  # is no error otherwise


def test_other_errors_stay_themselves() -> None:
    with pytest.raises(RuntimeError, match="planted"), same_bits(True, torch.device("cpu")):
        raise RuntimeError("planted")


def test_cublas_told_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = switches()
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with pytest.raises(ConfigError, match=WORKSPACE), same_bits(True, torch.device("cuda")):
        pass
    assert switches() == before


def test_it_changes_nothing_on_a_cpu(depth_set: Path, tmp_path: Path) -> None:
    plain = toy_train(tmp_path / "plain", toy_config(depth_set))
    assert toy_train(tmp_path / "same", toy_config(depth_set, deterministic=True)) == plain
    one, two = final_tensors(tmp_path / "plain"), final_tensors(tmp_path / "same")
    assert all(torch.equal(one[name], two[name]) for name in one)
