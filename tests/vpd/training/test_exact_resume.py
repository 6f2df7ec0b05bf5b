"""A run that was stopped goes on to the very bits of one that was not: losses, weights, moments."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shards.contract.manifest import Manifest
from tests.toy_training import ToyNetwork, final_tensors, toy_config, toy_train, with_loop
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.resume import restore_run, save_run
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import build_optimizer, named_groups


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stopped_at", [3, 4])
def test_stopped_and_gone_on_equals_undisturbed(
    channels_last: bool, precision: str, stopped_at: int, depth_set: Path, tmp_path: Path
) -> None:
    config = toy_config(depth_set, channels_last=channels_last, precision=precision)
    whole = toy_train(tmp_path / "whole", config)
    toy_train(tmp_path / "halves", with_loop(config, stop_after_steps=stopped_at))
    assert toy_train(tmp_path / "halves", config) == whole
    for stem in ("model", "optimizer"):
        assert same(final_tensors(tmp_path / "whole", stem), final_tensors(tmp_path / "halves", stem))


@pytest.mark.parametrize("saved_in", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("restored_in", [torch.contiguous_format, torch.channels_last])
def test_moments_lie_in_memory_as_their_weights_do(
    saved_in: torch.memory_format, restored_in: torch.memory_format, depth_set: Path, tmp_path: Path
) -> None:
    settings, manifest = OptimConfig(lr=1e-2), Manifest.load(str(depth_set))
    network = ToyNetwork().to(memory_format=saved_in)  # pyright: ignore[reportCallIssue]
    optimizer = build_optimizer(named_groups(network, settings), settings)
    inputs = torch.randn(2, 4, 8, 8)

    def stepped(network: ToyNetwork, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        network.eval()(inputs, torch.zeros(2), (8, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return {name: value.detach().clone() for name, value in network.named_parameters()}

    stepped(network, optimizer)
    store = CheckpointStore(str(tmp_path))
    save_run(store, 1, network, optimizer, manifest, 2, {}, {})
    again = ToyNetwork().to(memory_format=restored_in)  # pyright: ignore[reportCallIssue]
    restored = build_optimizer(named_groups(again, settings), settings)
    restore_run(store, again, restored, manifest, 2)
    for old, parameter in zip(network.parameters(), again.parameters(), strict=True):
        before, state = optimizer.state[old], restored.state[parameter]
        assert all(torch.equal(state[key], before[key]) for key in before)
        assert state["exp_avg"].stride() == parameter.stride() == state["exp_avg_sq"].stride()
    one, two = stepped(network, optimizer), stepped(again, restored)
    if saved_in == restored_in:
        assert same(one, two)
    for name in one:  # elsewhere convolutions round differently
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
