"""Which share of a stream a process has: its rank among those that train, its number among DataLoader workers."""

from __future__ import annotations

import os

import torch.distributed
from torch.utils.data import get_worker_info

from shards.errors import ConfigError


def rank_and_world(inherited: tuple[int, int] = (0, 1)) -> tuple[int, int]:
    """(rank, world) by torch.distributed; else by RANK and WORLD_SIZE, as torchrun and Ray Train set them; else as
    `inherited` from the process that sent a dataset here.

    Raises:
        ConfigError: only one of RANK and WORLD_SIZE is set, or they are no numbers.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and world is None:
        return inherited
    if rank is None or world is None or not (rank.isdecimal() and world.isdecimal()):
        raise ConfigError(f"RANK is {rank!r}, WORLD_SIZE is {world!r}; expected two numbers, or neither set")
    return int(rank), int(world)


def worker_and_workers() -> tuple[int, int]:
    """(number of this DataLoader worker, number of workers); (0, 1) in a process that is none."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def in_worker() -> bool:
    """Whether this process is a DataLoader worker, maybe the only one."""
    return get_worker_info() is not None
