"""Metrics over several workers: update per record, join the workers' states, divide once at the end.

Owns what a metric promises. What is counted, and how, is each task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import torch


class Metric(Protocol):
    """What is known of the samples so far. All there is to store or send is `state`, one float64 tensor: sums, or rows
    where a score needs every sample at once."""

    state: torch.Tensor

    @property
    def count(self) -> int:
        """Samples so far."""
        ...

    def joined(self, states: Sequence[torch.Tensor]) -> Self:
        """A metric of the same kind over the samples of several states, such as all workers'."""
        ...

    def compute(self) -> dict[str, float]:
        """The scores by name."""
        ...


def added(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """The state of metrics whose states are sums, in the order given; none of `states` is changed."""
    return torch.stack(list(states)).sum(dim=0)
