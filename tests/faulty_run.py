"""A toy run in a process of its own, slow enough to be killed, on a store that may be slow and refuse."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from shards.errors import Interrupted
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.training import checkpoint, durable_files, writer
from vpd.training.settings import TrainConfig

STEPS, STEP_S = 30, 0.01
ENDED = 7  # exit status of a run that was asked to end


class Slow(ToyNetwork):
    def forward(self, *inputs: Any) -> torch.Tensor:
        time.sleep(STEP_S)
        return super().forward(*inputs)


class FaultyDisk:
    """Takes its time between weights and marker; refuses the first `refusals` checkpoints after half of one."""

    def __init__(self, refusals: int, slow_s: float) -> None:
        self.refusals, self.slow_s = refusals, slow_s

    def created(self, fs: Any, path: str) -> Any:
        if path.endswith("state.json"):
            time.sleep(self.slow_s)
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.ENOSPC, "No space left on device")
        return durable_files.created(fs, path)


def train(folder: str, depth_set: str, refusals: int, slow_s: float) -> None:
    torch.set_num_threads(1)
    writer.PAUSE_S = 0.01
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    checkpoint.created = FaultyDisk(refusals, slow_s).created
    try:
        toy_train(Path(folder), config(depth_set), Slow(), asked_to_end=lambda: bool(asked))
    except Interrupted:
        os._exit(ENDED)


def config(depth_set: Path | str) -> TrainConfig:
    return toy_config(Path(depth_set), steps=STEPS, save_every_steps=4, keep_last=2)
