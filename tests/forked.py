"""Processes that tests start, forked from one that has loaded what they use: a new interpreter takes seconds for it.

Owns that process, of which each pytest process has one. A function that runs in another process, and its arguments,
are pickled by name: it stands in a module, not in a test.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

ROOT = Path(__file__).resolve().parent.parent
# Optimisers load dynamo at their first step; the rest is what a training run of the tiny model loads.
LOADED = (
    "torch._dynamo",
    "diffusers.models.unets.unet_2d_condition",
    "diffusion_perception.training",
    "vpd.training.loop",
    "tests.faulty_run",
    "tests.put_aside",
)
_PROCESSES = multiprocessing.get_context("forkserver")


def started(target: Callable[..., Any], *args: Any) -> BaseProcess:
    """A process that runs `target`, at once."""
    _ready()
    process = _PROCESSES.Process(target=target, args=args)
    process.start()
    return process


def together(target: Callable[..., Any], *args: Any, meeting: Path, workers: int = 2) -> None:
    """Run `target(rank, *args)` on several workers of one process group, to the end of all; an error of one is raised.

    Args:
        meeting: a file that is not there yet, by which they find each other.
    """
    _ready()
    start_processes(_take_part, (target, workers, str(meeting), args), nprocs=workers, start_method="forkserver")


def _take_part(rank: int, target: Callable[..., Any], workers: int, meeting: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)
    target(rank, *args)
    dist.destroy_process_group()


def _ready() -> None:
    _PROCESSES.set_forkserver_preload(list(LOADED))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with mock.patch.dict(os.environ, {"PYTHONPATH": path}):  # the fork server does not look at our sys.path
        forkserver.ensure_running()
