"""Training runs of a network of two convolutions, in milliseconds: what the loop does, without what it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from diffusion_perception.assembly.sets import open_training_set
from vpd.model.perception import Perception
from vpd.tasks.depth import task as depth
from vpd.training import loop
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.feeding import Parts
from vpd.training.settings import DataConfig, LoopConfig, OptimConfig, TrainConfig
from vpd.training.telemetry.log import RunLog
from vpd.training.worker import Worker

STEPS = 9


class ToyNetwork(nn.Module):
    """Depth [B, 1, H, W] from latents [B, 4, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, latents: torch.Tensor, context: torch.Tensor, out_size_px: tuple[int, int]) -> torch.Tensor:
        hidden = F.dropout(F.relu(self.norm(self.first(latents))), 0.2, self.training)  # [B, 8, h, w]
        return F.softplus(F.interpolate(self.last(hidden), out_size_px, mode="bilinear")) + 0.1


def toy_config(train: Path, *, lr: float = 1e-2, **loop_settings: Any) -> TrainConfig:
    """STEPS steps of two samples, each logged; no evaluation, and checkpoints every third step."""
    chosen: dict[str, Any] = {
        "steps": STEPS,
        "log_every_steps": 1,
        "eval_every_steps": 3,
        "save_every_steps": 3,
    } | loop_settings
    data = DataConfig(str(train), batch_size=2, threads=0)
    return TrainConfig({"name": "depth"}, {}, data, optim=OptimConfig(lr=lr), loop=LoopConfig(**chosen))


def toy_train(
    folder: Path,
    config: TrainConfig,
    network: nn.Module | None = None,
    *,
    store: CheckpointStore | None = None,
    echo: Callable[[str], None] = lambda text: None,
    evaluated: bool = False,
    read_losses: bool = True,
    worker: Worker | None = None,
    **known: Any,
) -> dict[int, float]:
    """Train, or go on; returns the loss of every logged step."""
    shards = open_training_set(config.data)
    parts = Parts(
        depth.build(crop="none"),
        cast(Perception, network or ToyNetwork()),
        shards,
        val_set=shards if evaluated else None,
    )
    store = store or CheckpointStore(str(folder))
    newest, worker, log = store.latest(), worker or Worker(), None
    if worker.rank == 0:
        log = RunLog(store.url, resume_step=newest.step if newest else 0, echo=echo)
    try:
        loop.train(config, parts, worker, store, log, **known)
    finally:
        if log:
            log.close()
    return toy_losses(folder) if read_losses else {}


def toy_losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def final_tensors(folder: Path, stem: str = "model") -> dict[str, torch.Tensor]:
    store = CheckpointStore(str(folder))
    return store.load(store.named("last", ""), stem)


def with_loop(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, loop=replace(config.loop, **changes))
