"""NaN planted in a batch, a weight and a gradient: seen at its step, never applied, and the run does as it was told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shards.errors import NonFinite
from shards.reading.reader import ShardSet
from tests.toy_training import ToyNetwork, final_tensors, toy_config, toy_losses, toy_train
from vpd.training import run
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.feeding import Parts, open_stream
from vpd.training.step.finite import FiniteWatch, unsound_weight
from vpd.training.worker import Worker

BAD = 5  # the step that NaN is planted in


def in_a_batch(network: ToyNetwork, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    made, left = run.to_batch, [times]

    def planted(arrays: Any, encoders: Any, device: Any) -> Any:
        batch = made(arrays, encoders, device)
        if network.seen == BAD - 1 and left[0]:
            left[0] -= 1
            batch.latents[0, 0, 0, 0] = math.nan
        return batch

    monkeypatch.setattr(run, "to_batch", planted)


def in_a_gradient(network: ToyNetwork, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    left = [times]

    def planted(gradient: torch.Tensor) -> torch.Tensor:
        if network.seen == BAD and left[0]:
            left[0] -= 1
            return gradient.index_fill(0, torch.tensor(0), math.inf)
        return gradient

    network.first.weight.register_hook(planted)


def in_a_weight(network: ToyNetwork, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    left = [times]

    def planted(module: nn.Module, inputs: Any) -> None:
        if network.seen == BAD - 1 and module.training and left[0]:
            left[0] -= 1
            with torch.no_grad():
                network.last.weight[0, 0, 0, 0] = math.nan

    network.register_forward_pre_hook(planted)


class Counting(ToyNetwork):
    """Knows how many steps it was trained for, by the batches it saw; a run that rolls back shows it the same again."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def seen(self) -> int:
        return int(self.steps)

    def forward(self, *inputs: Any) -> torch.Tensor:
        self.steps += self.training
        return super().forward(*inputs)


PLANTED = {"the loss is nan": in_a_batch, "a gradient is not finite": in_a_gradient, "last.weight holds": in_a_weight}


@pytest.mark.parametrize(("said", "plant"), PLANTED.items())
@pytest.mark.parametrize("log_every", [1, 9])
def test_a_run_stops_at_the_right_step_and_keeps_what_was_sound(
    said: str, plant: Callable[..., None], log_every: int, depth_set: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    network = Counting()
    plant(network, monkeypatch)
    config = toy_config(depth_set, log_every_steps=log_every)
    with pytest.raises(NonFinite, match=said) as stopped:
        toy_train(tmp_path, config, network, evaluated=True)
    stream = open_stream(config, Parts(*parts_of(depth_set)), Worker(), BAD - 1, BAD)
    with stream:
        (batch,) = stream
        assert f"step {BAD}: " in str(stopped.value)
        assert f"for the records {', '.join(batch.keys)}" in str(stopped.value)
    store = CheckpointStore(str(tmp_path))
    (kept,) = store.complete()
    assert kept.step == 3
    assert store.best("rmse", higher_is_better=False) == kept
    assert all(torch.isfinite(t).all() for t in store.load(kept, "model").values())
    assert BAD not in toy_losses(tmp_path)


def parts_of(depth_set: Path) -> tuple[Any, Any, ShardSet]:
    from vpd.tasks.depth import task

    return task.build(crop="none"), ToyNetwork(), ShardSet.open(depth_set)


def test_a_skipped_step_leaves_weights_moments_and_running_means_as_they_were(depth_set: Path) -> None:
    network = ToyNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    watch = FiniteWatch(network, Worker())

    def step(number: int, latents: torch.Tensor) -> None:
        watch.before_step()
        loss = network(latents, torch.zeros(2), (8, 8)).mean()
        loss.backward()
        optimizer.found_inf = watch.after_backward(number, loss, torch.zeros(2).long().numpy())  # pyright: ignore
        optimizer.step()
        optimizer.zero_grad()

    step(1, torch.randn(2, 4, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states = {key: value.clone() for key, value in optimizer.state[network.first.weight].items()}
    step(2, torch.full((2, 4, 8, 8), math.nan))
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "num_batches" not in name)
    assert all(torch.equal(optimizer.state[network.first.weight][key], states[key]) for key in states)
    assert [bad.step for bad in watch.read()] == [2]
    step(3, torch.randn(2, 4, 8, 8))
    assert not torch.equal(network.first.weight, before["first.weight"])
    assert not watch.read()


@pytest.mark.parametrize("plant", [in_a_batch, in_a_gradient])
def test_skipping_goes_on_with_the_next_step(
    plant: Callable[..., None], depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, said = Counting(), []
    plant(network, monkeypatch)
    losses = toy_train(tmp_path, toy_config(depth_set, nonfinite="skip", log_every_steps=3), network, echo=said.append)
    assert all(map(math.isfinite, losses.values()))
    assert set(losses) == {3, 6, 9}
    assert sum("Going on without it" in line for line in said) == 1
    assert any(f"step {BAD}: " in line for line in said)


def test_skipping_does_not_help_a_weight(depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Counting()
    in_a_weight(network, monkeypatch)
    with pytest.raises(NonFinite, match=r"last\.weight holds"):
        toy_train(tmp_path, toy_config(depth_set, nonfinite="skip"), network)


def test_rolling_back_undoes_a_broken_weight(depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = toy_train(tmp_path / "a", toy_config(depth_set), Counting())
    network, said = Counting(), []
    in_a_weight(network, monkeypatch)
    losses = toy_train(tmp_path / "b", toy_config(depth_set, nonfinite="roll_back"), network, echo=said.append)
    assert losses == undisturbed
    one, two = final_tensors(tmp_path / "a"), final_tensors(tmp_path / "b")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert sum("Going back to step 3" in line for line in said) == 1


def test_a_batch_that_is_always_bad_is_left_out_after_one_roll_back(
    depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, said = Counting(), []
    in_a_batch(network, monkeypatch, times=99)
    losses = toy_train(tmp_path, toy_config(depth_set, nonfinite="roll_back"), network, echo=said.append)
    assert sum("Going back to step 3" in line for line in said) == 1
    assert set(losses) == set(range(1, 10))
    assert losses[BAD] is None  # nothing finite to log there


def test_rolling_back_ends(depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, said = Counting(), []
    in_a_weight(network, monkeypatch, times=99)
    with pytest.raises(NonFinite, match=r"at most loop\.roll_backs times \(2\)"):
        toy_train(tmp_path, toy_config(depth_set, nonfinite="roll_back", roll_backs=2), network, echo=said.append)
    assert sum("Going back" in line for line in said) == 2


@pytest.mark.parametrize("log_every", [0, 1, 100])
def test_a_rate_that_blows_up_is_no_success(log_every: int, depth_set: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFinite, match=r"step 2: the loss is (nan|inf).*optim\.lr"):
        toy_train(tmp_path, toy_config(depth_set, lr=1e30, log_every_steps=log_every))
    assert not CheckpointStore(str(tmp_path)).complete()


def test_every_kind_of_weight_is_looked_at() -> None:
    network = ToyNetwork()
    assert unsound_weight(network) == ""
    assert network.norm.running_var is not None
    network.norm.running_var[3] = math.inf
    assert unsound_weight(network) == "norm.running_var"


def test_what_is_finite_is_not_taken_for_infinite(depth_set: Path) -> None:
    """The sum of squares of such gradients is beyond float32."""
    network = nn.Linear(2, 2)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 3e38)
    watch = FiniteWatch(network, Worker())
    assert watch.after_backward(1, torch.tensor(1.0), torch.zeros(1).long().numpy()) == 0
    assert not watch.read()
