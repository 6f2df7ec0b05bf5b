"""A toy run in a process of its own, or in two, slow enough to be killed, on a disk that may be slow and refuse."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from shards.errors import Interrupted, NotSaved
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.training.checkpoints import checkpoint, durable_files, writer
from vpd.training.settings import TrainConfig
from vpd.training.worker import Worker

STEPS, STEP_S = 30, 0.01
ENDED, NOT_SAVED = 7, 8  # exit status of a run that was asked to end, and of one whose last checkpoint was refused


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


def train(folder: str, depth_set: str, refusals: int = 0, slow_s: float = 0.0, rank: int = 0, world: int = 1) -> None:
    """What each process does; what the run says is kept beside its folder."""
    torch.set_num_threads(1)
    writer.PAUSE_S = 0.01
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    checkpoint.created = FaultyDisk(refusals, slow_s).created
    known: dict[str, Any] = {"asked_to_end": lambda: bool(asked)}
    if world > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=f"file://{folder}.meeting", rank=rank, world_size=world)
        known |= {"worker": Worker(rank, world), "wrap": DistributedDataParallel, "read_losses": False}
    with Path(f"{folder}.said").open("a", buffering=1) as said:
        try:
            toy_train(Path(folder), config(depth_set), Slow(), echo=lambda text: print(text, file=said), **known)
        except Interrupted:
            os._exit(ENDED)
        except NotSaved:
            os._exit(NOT_SAVED)
    if world > 1:
        dist.destroy_process_group()


def config(depth_set: Path | str) -> TrainConfig:
    return toy_config(Path(depth_set), steps=STEPS, save_every_steps=4, keep_last=2)
