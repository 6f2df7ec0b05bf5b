"""AdamW whose moments are shared out among the workers (ZeRO-1, `optim.sharded`).

Owns who keeps which moments, the exchange of weights after a step, and how all moments come together on the first
worker for a checkpoint, which is that of a run without shares. torch's `ZeroRedundancyOptimizer` would not do: it hides
the optimiser that `found_inf` is told to, and puts the step counts of a fused AdamW on the CPU when it loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from vpd.training.worker import Worker


class ShardedAdamW(torch.optim.AdamW):
    """Every worker updates its share of the weights, about as many numbers each, and hears of the others'.

    Args:
        groups: all of the run's, the same on every worker; options as of AdamW.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], worker: Worker, **options: Any) -> None:
        super().__init__(groups, **options)
        self._worker = worker
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        self._owner = owners(every, worker.world)
        self._others = [parameter for parameter in every if self._owner[parameter] != worker.rank]

    def step(self, closure: Any = None) -> Any:
        """One update; every worker has to come along."""
        aside = [parameter.grad for parameter in self._others]
        for parameter in self._others:
            parameter.grad = None
        result = super().step(closure)
        for parameter, gradient in zip(self._others, aside, strict=True):
            parameter.grad = gradient
        waiting = [dist.broadcast(one.detach(), rank, async_op=True) for one, rank in self._owner.items()]
        for work in waiting:
            if work is not None:
                work.wait()
        return result

    def drop_others(self) -> None:
        """Forget the moments that others keep, as after a checkpoint was read whole."""
        for parameter in self._others:
            self.state.pop(parameter, None)

    def collect(self) -> None:
        """The first worker has everybody's moments afterwards, in its host's memory; all workers call it."""
        rank = self._worker.rank
        mine: list[Any] = [sorted(self.state[one]) if one in self.state else [] for one in self._owner]
        lists: list[Any] = [None] * self._worker.world
        dist.all_gather_object(lists, mine)
        for number, (parameter, owner) in enumerate(self._owner.items()):
            for key in lists[owner][number] if owner else ():
                if rank == owner:  # in the order of its indices: bytes travel, and a moment lies as its weight does
                    dist.send(self.state[parameter][key].to(self._worker.device).contiguous(), 0)
                elif rank == 0:
                    shape = () if key == "step" else parameter.shape
                    place = torch.empty(shape, dtype=torch.float32, device=self._worker.device)
                    dist.recv(place, owner)
                    self.state[parameter][key] = place.cpu()


def owners(parameters: Iterable[torch.Tensor], world: int) -> dict[torch.Tensor, int]:
    """The worker that keeps the moments of each of some weights."""
    kept, found = [0] * world, {}
    for parameter in sorted(parameters, key=lambda one: -one.numel()):  # the largest first: then shares come out even
        found[parameter] = rank = kept.index(min(kept))
        kept[rank] += parameter.numel()
    return found


def largest_share(parameters: Iterable[torch.Tensor], world: int) -> list[torch.Tensor]:
    """The weights whose moments the worker with the most of them keeps; all of them for a world of one."""
    shares: list[list[torch.Tensor]] = [[] for _ in range(world)]
    for parameter, rank in owners(parameters, world).items():
        shares[rank].append(parameter)
    return max(shares, key=lambda share: sum(parameter.numel() for parameter in share))


@contextmanager
def whole_state(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The first worker's optimiser has the state of all weights meanwhile."""
    if isinstance(optimizer, ShardedAdamW):
        optimizer.collect()
    try:
        yield
    finally:
        own_share(optimizer)


def own_share(optimizer: torch.optim.Optimizer) -> None:
    """A worker's optimiser keeps what is its own."""
    if isinstance(optimizer, ShardedAdamW):
        optimizer.drop_others()
