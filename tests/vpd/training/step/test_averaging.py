"""The moving average of the weights: what it is, when it moves, how it is resumed and where it is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shards.errors import ConfigError
from tests.toy_training import STEPS, ToyNetwork, final_tensors, toy_config, toy_train, with_loop
from vpd.model.settings import ModelConfig
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.resume import final_weights
from vpd.training.settings import OptimConfig, TrainConfig
from vpd.training.step import averaging
from vpd.training.step.averaging import WeightAverage

APPLIED, SKIPPED = torch.tensor(0.0), torch.tensor(1.0)


def averaged(config: TrainConfig, decay: float = 0.9) -> TrainConfig:
    return replace(config, optim=replace(config.optim, ema_decay=decay))


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("block", [1, 100, averaging.BLOCK])
def test_it_is_the_average_of_the_applied_steps(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "BLOCK", block)
    network = ToyNetwork()
    network.norm.requires_grad_(False)
    average = WeightAverage(network, 0.3)
    expected = {name: p.detach().double() for name, p in network.named_parameters() if p.requires_grad}
    for step, skipped in enumerate([APPLIED, SKIPPED, APPLIED, APPLIED], 1):
        for parameter in network.parameters():
            nn.init.normal_(parameter)
        average.after_step(step, skipped)
        keeps = min(0.3, (1 + step) / (10 + step))
        if skipped is APPLIED:
            for name in expected:
                expected[name] = keeps * expected[name] + (1 - keeps) * network.get_parameter(name).detach().double()
    assert set(average.tensors()) == set(expected)
    for name, value in average.tensors().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_it_stands_in_for_the_weights_and_goes_again() -> None:
    network = ToyNetwork()
    average = WeightAverage(network, 0.9)
    nn.init.ones_(network.last.weight)
    trained, place = network.last.weight.detach().clone(), network.last.weight.data_ptr()
    kept = average.tensors()["last.weight"].clone()
    with average.in_place():
        assert torch.equal(network.last.weight, kept)
    assert torch.equal(network.last.weight, trained)
    assert torch.equal(average.tensors()["last.weight"], kept)
    assert network.last.weight.data_ptr() == place


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("stopped_at", [3, 4])
def test_stopped_and_gone_on_equals_undisturbed(
    channels_last: bool, stopped_at: int, depth_set: Path, tmp_path: Path
) -> None:
    config = averaged(toy_config(depth_set, channels_last=channels_last))
    whole = toy_train(tmp_path / "whole", config)
    toy_train(tmp_path / "halves", with_loop(config, stop_after_steps=stopped_at))
    assert toy_train(tmp_path / "halves", config) == whole
    for stem in ("model", "optimizer", "average"):
        assert same(final_tensors(tmp_path / "whole", stem), final_tensors(tmp_path / "halves", stem))


def test_it_is_validated_and_the_training_does_not_notice(depth_set: Path, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watched(ToyNetwork):
        def forward(self, *inputs: Any) -> torch.Tensor:
            if not self.training:
                seen.append(self.last.weight.detach().clone())
            return super().forward(*inputs)

    config = toy_config(depth_set, eval_every_steps=STEPS)
    plain = toy_train(tmp_path / "plain", config, evaluated=True)
    assert toy_train(tmp_path / "averaged", averaged(config), Watched(), evaluated=True) == plain
    assert same(final_tensors(tmp_path / "plain"), final_tensors(tmp_path / "averaged"))
    kept = final_tensors(tmp_path / "averaged", "average")["last.weight"]
    assert torch.equal(seen[-1], kept)
    assert not torch.equal(kept, final_tensors(tmp_path / "averaged")["last.weight"])
    store = CheckpointStore(str(tmp_path / "averaged"))
    weights, is_average = final_weights(store, store.named("last", ""), ModelConfig())
    assert is_average
    assert torch.equal(weights["last.weight"], kept)
    assert set(weights) == set(final_tensors(tmp_path / "averaged"))
    store = CheckpointStore(str(tmp_path / "plain"))
    weights, is_average = final_weights(store, store.named("last", ""), ModelConfig())
    assert not is_average
    assert same(weights, final_tensors(tmp_path / "plain"))


def test_a_run_that_had_none_begins_one_where_it_goes_on(depth_set: Path, tmp_path: Path) -> None:
    config, said = toy_config(depth_set), []
    toy_train(tmp_path, with_loop(config, stop_after_steps=3))
    toy_train(tmp_path, averaged(config), echo=said.append)
    assert any("the average of the weights begins here" in line for line in said)
    assert final_tensors(tmp_path, "average")


def test_a_step_that_is_left_out_does_not_move_it(depth_set: Path, tmp_path: Path) -> None:
    class Failing(ToyNetwork):
        def forward(self, *inputs: Any) -> torch.Tensor:
            return super().forward(*inputs) * float("nan")

    start = ToyNetwork().last.weight.detach().clone()
    toy_train(tmp_path, averaged(toy_config(depth_set, nonfinite="skip", steps=2)), Failing(), read_losses=False)
    assert torch.equal(final_tensors(tmp_path, "average")["last.weight"], start)


def test_a_decay_that_keeps_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optim.ema_decay is 1; expected a number from 0, below 1"):
        OptimConfig(ema_decay=1.0)
