"""Metrics over several workers: update per record, join the workers' states, divide once at the end.

Owns what a metric promises, and where it counts: one that says `counts_on_device` is moved to where the predictions
are, so that no record waits for a GPU. What is counted, and how, is each task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

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


def counting_on(metric: Any, device: torch.device) -> Any:
    """The metric with its sums on a CUDA device, if it can count there; itself if not."""
    if device.type != "cuda" or not getattr(metric, "counts_on_device", False):
        return metric
    return metric.joined([metric.state.to(device)])


def handed_over(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values on a device; a CUDA device takes those of the host when it comes to them, and the host does not wait."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)  # torch keeps the pinned copy until it is read
