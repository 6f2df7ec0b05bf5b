"""Whose pictures batch norms look at on several workers, and whose statistics are evaluated and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from shards.errors import ConfigError
from tests import forked
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.model.settings import ModelConfig
from vpd.training.step import norms
from vpd.training.step.norms import joins_norms, norm_statistics
from vpd.training.worker import Worker

CONFIGS = Path("configs/train")


@pytest.mark.parametrize(
    ("choice", "world", "device", "joined"),
    [
        ("synchronised", 2, "cuda", True),
        ("worker", 2, "cuda", False),
        ("synchronised", 1, "cuda", False),
        ("synchronised", 2, "cpu", False),
    ],
)
def test_norms_are_joined_on_several_gpus_unless_each_has_its_own(
    choice: str, world: int, device: str, joined: bool
) -> None:
    settings = ModelConfig(batch_norm=choice)  # pyright: ignore[reportArgumentType]
    assert joins_norms(settings, Worker(0, world, torch.device(device))) == joined


@pytest.mark.parametrize(
    ("config", "published"),
    [
        ("depth", "worker"),
        ("depth_meta_prompts", "worker"),
        ("refer", "synchronised"),
        ("seg", "synchronised"),
        ("seg_meta_prompts", "synchronised"),
    ],
)
def test_configurations_have_what_was_published(config: str, published: str) -> None:
    assert yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())["model"]["batch_norm"] == published


class Headed(ToyNetwork):
    """With what a run asks of a head."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.head = nn.Sequential(norm(8))

    def compile_head(self) -> None:
        raise RuntimeError("compiled")


def test_a_compiled_head_with_joined_norms_is_refused_before_the_first_step(
    depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(depth_set, compile_head=True)
    with pytest.raises(RuntimeError, match="compiled"):  # of one worker
        toy_train(tmp_path / "one", config, Headed(nn.BatchNorm2d))
    monkeypatch.setattr(norms, "joins_norms", lambda settings, worker: True)
    with pytest.raises(ConfigError, match=r"all GPUs.*model\.batch_norm=worker or loop\.compile_head=false"):
        toy_train(tmp_path / "several", config, Headed(nn.BatchNorm2d))
    with pytest.raises(RuntimeError, match="compiled"):  # without batch norms there is nothing to join
        toy_train(tmp_path / "none", config, Headed(nn.Identity))


def _differently_trained(rank: int) -> None:
    network = ToyNetwork()
    network.train()(torch.full((2, 4, 8, 8), rank + 1.0) * torch.linspace(0, 1, 8), torch.zeros(2), (8, 8))
    own = [value.clone() for value in norm_statistics(network)]
    worker = Worker(rank, 2)
    worker.take_the_first(norm_statistics(network))
    firsts = worker.gathered(torch.cat([value.flatten().double() for value in own]))[0]
    found = torch.cat([value.flatten().double() for value in norm_statistics(network)])
    assert torch.equal(found, firsts)
    assert rank == 0 or not torch.equal(found, torch.cat([value.flatten().double() for value in own]))


def test_every_worker_evaluates_with_the_first_ones_statistics(tmp_path: Path) -> None:
    forked.together(_differently_trained, meeting=tmp_path / "meeting")
