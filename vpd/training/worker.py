"""Who a process is among the workers of a run, and what the workers tell each other.

Owns the collectives of the loop that are not the gradients' (those are DDP's): sums, states of different lengths, and
waiting for each other. Which processes there are is left to `jobs.train`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Worker:
    """Who this process is among the workers of a run."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over all workers (the tensor itself for one worker)."""
        if self.world > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
        return values.cpu()

    def summed_here(self, value: torch.Tensor) -> torch.Tensor:
        """The same, left on its device: nothing waits for it."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def gathered(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all workers in their order, on the CPU; they may differ in the length of the first axis."""
        if self.world == 1:
            return [values.cpu()]
        values = values.to(self.device)
        lengths = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world)]
        dist.all_gather(lengths, torch.tensor([len(values)], device=self.device))
        counts = [int(length) for length in lengths]
        padded = values.new_zeros(max(counts), *values.shape[1:])  # collectives want one shape
        padded[: len(values)] = values
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return [rows[:count].cpu() for rows, count in zip(received, counts, strict=True)]

    def any_of(self, flag: torch.Tensor) -> torch.Tensor:
        """Whether a flag, bool [] on the device, is set on any worker; the answer stays there, so nothing waits."""
        if self.world == 1:
            return flag
        raised = flag.to(torch.uint8)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return raised.bool()

    def of_the_first(self, number: int) -> int:
        """What the first worker says."""
        said = torch.tensor([number], device=self.device)
        self.take_the_first([said])
        return int(said)

    def take_the_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Every worker's tensors become those of the first, in place."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()
