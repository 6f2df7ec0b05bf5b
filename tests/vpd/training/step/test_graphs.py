"""A step that is recorded once and repeated, by a recorder that a CPU has: what a graph would compute, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.errors import ConfigError
from tests.graph_recorder import Again
from tests.toy_training import STEPS, ToyNetwork, final_tensors, toy_config, toy_train, with_loop
from tests.waiting import NothingWaits
from vpd.model.device_batch import DeviceBatch
from vpd.training.step import learning
from vpd.training.step.graphs import GraphedPasses, check_graphs, recorder_on


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Again:
    """Of every run meanwhile."""
    recorder = Again()
    monkeypatch.setattr(learning, "recorder_on", lambda device: recorder)
    return recorder


def passes_of(network: ToyNetwork) -> Callable[[DeviceBatch], torch.Tensor]:
    """Forward and backward pass of a loss that dropout and the norm have a part in."""

    def passes(batch: DeviceBatch) -> torch.Tensor:
        loss = (network(batch.latents, batch.latents, (8, 8)) - batch.labels["depth"]).square().mean()
        loss.backward()
        return loss.detach()

    return passes


def drawn(seed: int, side: int = 4) -> DeviceBatch:
    draw = torch.Generator().manual_seed(seed)
    depth_m = torch.rand(2, 1, 8, 8, generator=draw)
    return DeviceBatch(torch.randn(2, 4, side, side, generator=draw), None, {"depth": depth_m})


def test_a_run_in_graphs_is_the_run_without(depth_set: Path, tmp_path: Path, recorder: Again) -> None:
    """Norms, dropout, clipping and the average included; and so is one that is stopped and goes on."""
    plain = toy_config(depth_set)
    plain = replace(plain, optim=replace(plain.optim, clip_norm=1.0, ema_decay=0.9))
    graphed = with_loop(plain, cuda_graphs=True)
    expected = toy_train(tmp_path / "plain", plain)
    assert toy_train(tmp_path / "graphed", graphed) == expected
    assert (recorder.warmed, recorder.recorded, recorder.replayed) == (1, 1, STEPS)
    toy_train(tmp_path / "halves", with_loop(graphed, stop_after_steps=4))
    assert toy_train(tmp_path / "halves", graphed) == expected
    for stem in ("model", "optimizer"):
        whole = final_tensors(tmp_path / "plain", stem)
        for folder in ("graphed", "halves"):
            found = final_tensors(tmp_path / folder, stem)
            assert set(found) == set(whole)
            assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_warming_up_leaves_no_trace_and_a_loss_is_not_written_over() -> None:
    plain, network = ToyNetwork(), ToyNetwork()
    graphed = GraphedPasses(network, passes_of(network), Again())
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        plain.zero_grad()
        expected = passes_of(plain)(drawn(seed))
        losses.append((graphed(drawn(seed), seed), expected))
        for one, other in zip(network.parameters(), plain.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert torch.equal(one.grad, other.grad)  # not added to those of the step before
    assert all(torch.equal(found, expected) for found, expected in losses)
    assert losses[0][0] != losses[1][0]
    assert all(torch.equal(one, other) for one, other in zip(network.buffers(), plain.buffers(), strict=True))


def test_a_batch_is_copied_and_its_own_tensors_are_free_again() -> None:
    network = ToyNetwork()
    graphed = GraphedPasses(network, passes_of(network), Again())
    first, second = drawn(1), drawn(2)
    graphed(first, 1)
    first.latents.fill_(torch.nan)  # the next batch in the same memory
    assert graphed(second, 2).isfinite()
    assert second.latents.isfinite().all()


def test_a_repeated_step_waits_for_nothing() -> None:
    network = ToyNetwork()
    graphed = GraphedPasses(network, passes_of(network), Again())
    graphed(drawn(1), 1)
    with NothingWaits():
        graphed(drawn(2), 2)


def test_weights_that_were_put_elsewhere_are_recorded_anew() -> None:
    network, recorder = ToyNetwork(), Again()
    graphed = GraphedPasses(network, passes_of(network), recorder)
    graphed(drawn(1), 1)
    network.last.weight.data = network.last.weight.data.clone()
    graphed(drawn(1), 1)
    assert recorder.recorded == 2


def test_what_does_not_learn_has_no_gradient() -> None:
    network = ToyNetwork()
    network.first.requires_grad_(False)
    GraphedPasses(network, passes_of(network), Again())(drawn(1), 1)
    assert network.first.weight.grad is None
    assert network.last.weight.grad is not None


def test_a_batch_of_another_shape_is_refused() -> None:
    network = ToyNetwork()
    graphed = GraphedPasses(network, passes_of(network), Again())
    graphed(drawn(1), 1)
    with pytest.raises(ConfigError, match=r"\(2, 4, 4, 4\).*this one has.*\(2, 4, 5, 5\).*cuda_graphs=false"):
        graphed(drawn(2, side=5), 2)


def test_a_loss_that_the_host_queues_is_refused() -> None:
    network = ToyNetwork()
    batch = replace(drawn(1), on_host={"host_classes": np.ones((2, 3), bool)})
    with pytest.raises(ConfigError, match=r"host_classes.*Lovász.*cuda_graphs=false"):
        GraphedPasses(network, passes_of(network), Again())(batch, 1)


def test_without_cuda_a_run_is_refused_before_its_first_step(depth_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"this run computes on cpu.*cuda_graphs=false"):
        toy_train(tmp_path, toy_config(depth_set, cuda_graphs=True))
    assert recorder_on(torch.device("cuda"))


@pytest.mark.parametrize(
    ("micro_batch", "compiled", "world", "found"),
    [
        (0, "", 2, "2 workers"),
        (0, "compile", 1, "loop.compile,"),
        (0, "compile_head", 1, "loop.compile_head,"),
        (1, "", 1, "micro_batch_size is 1"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(micro_batch: int, compiled: str, world: int, found: str) -> None:
    config = toy_config(Path("set"), cuda_graphs=True)
    check_graphs(config, 1)
    check_graphs(replace(config, data=replace(config.data, micro_batch_size=2)), 1)  # the whole batch at once
    config = with_loop(config, **({compiled: True} if compiled else {}))
    config = replace(config, data=replace(config.data, micro_batch_size=micro_batch))
    with pytest.raises(ConfigError, match=found):
        check_graphs(config, world)
    check_graphs(with_loop(config, cuda_graphs=False), world)
