"""A bake in a process that is really killed: nothing of it is cleaned up."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from diffusion_perception.baking import bake as baking
from diffusion_perception.baking.baker import Baker
from jobs import features as command


def bake_until_killed(words: list[str], moment: str, threads: int) -> None:
    """Bake, and kill this very process at a moment: `shard`, when the second shard lies there and is not yet recorded;
    `seal`, when all are, and the set has no manifest. `threads` are torch's, on which the last bits depend."""
    torch.set_num_threads(threads)
    bake_shard = Baker.bake

    def killed_behind(self: Baker, number: int, name: str) -> Any:
        said = bake_shard(self, number, name)
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return said

    def killed(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "shard":
        Baker.bake = killed_behind
    else:
        baking.seal_set = killed
    command.run(words)
