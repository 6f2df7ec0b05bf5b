"""Noise of gradients: its size, the same on every worker and in every memory layout, and gone on with after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shards.errors import ConfigError
from tests.toy_training import final_tensors, toy_config, toy_train, with_loop
from vpd.training.settings import OptimConfig
from vpd.training.step.gradient_noise import add_noise, deviation


def noise(step: int, seed: int = 0, eta: float = 0.3) -> torch.Tensor:
    gradient = torch.full((500, 400), 2.0)
    add_noise([gradient], eta, seed, step)
    return gradient - 2


@pytest.mark.parametrize(("step", "variance"), [(0, 0.3), (1, 0.3 / 2**0.55), (999, 0.3 / 1000**0.55)])
def test_its_variance_falls_as_published(step: int, variance: float) -> None:
    made = noise(step)
    assert deviation(0.3, step) ** 2 == pytest.approx(variance)
    assert made.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(made.mean().item()) < 0.01


def test_it_is_of_the_seed_and_the_step_alone() -> None:
    torch.manual_seed(3)
    first = noise(5)
    torch.manual_seed(4)
    assert torch.equal(noise(5), first)
    for other in (noise(6), noise(5, seed=1)):
        assert abs(torch.corrcoef(torch.stack([first.ravel(), other.ravel()]))[0, 1]) < 0.01


def test_gradients_draw_one_after_another_whatever_their_layout() -> None:
    def drawn(layout: torch.memory_format) -> list[torch.Tensor]:
        gradients = [torch.zeros(4, 8, 3, 3).to(memory_format=layout), torch.zeros(8)]
        add_noise(gradients, 1.0, seed=1, step=2)
        return gradients

    plain, last = drawn(torch.contiguous_format), drawn(torch.channels_last)
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(one, two) for one, two in zip(plain, last, strict=True))
    assert not torch.equal(plain[0].ravel()[:8], plain[1])


def test_a_run_that_was_stopped_goes_on_with_it(depth_set: Path, tmp_path: Path) -> None:
    config = toy_config(depth_set)
    noisy = replace(config, optim=replace(config.optim, gradient_noise=0.01))
    whole = toy_train(tmp_path / "whole", noisy)
    toy_train(tmp_path / "halves", with_loop(noisy, stop_after_steps=3))
    assert toy_train(tmp_path / "halves", noisy) == whole != toy_train(tmp_path / "without", config)
    weights = [final_tensors(tmp_path / run, "model") for run in ("whole", "halves", "without")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize("eta", [-0.1, float("nan"), float("inf")])
def test_what_is_no_variance_is_refused(eta: float) -> None:
    with pytest.raises(ConfigError, match=r"optim\.gradient_noise is .*; expected a number, at least 0"):
        OptimConfig(gradient_noise=eta)
