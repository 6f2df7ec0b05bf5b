"""Principal components of features: the directions in which they vary most.

Owns the moments, added up in float64 in the order they come, and the rule of signs: that of a component's largest
coefficient is positive. The numbers do not depend on how many threads PyTorch has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

_COUNT = Lock()  # of PyTorch's threads, which is the whole process's


def leading(covariance: torch.Tensor, components: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first components of a symmetric `[C, C]`, float64, on the CPU: directions `[C, N]` and variances `[N]`, in
    falling order; N is no more than C."""
    with _one_thread():
        variances, directions = torch.linalg.eigh(covariance)  # in rising order
    chosen, found = directions[:, -components:].flip(1), variances[-components:].flip(0)
    largest = chosen.abs().argmax(0)
    signs = torch.where(chosen[largest, torch.arange(chosen.shape[1])] < 0, -1.0, 1.0)
    return chosen * signs, found


class Moments:
    """Mean and covariance of the cells of feature maps."""

    def __init__(self, channels: int) -> None:
        self.cells = 0
        self.total = torch.zeros(channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, values: torch.Tensor) -> None:
        """Count the cells of maps `[N, C, h, w]`."""
        rows = values.movedim(1, -1).flatten(0, 2).cpu().double()  # [N h w, C]
        with _one_thread():
            self.total += rows.sum(0)
            self.products += rows.T @ rows
        self.cells += len(rows)

    @property
    def is_finite(self) -> bool:
        """Whether every number of every cell was."""
        return bool(torch.isfinite(self.products).all())

    def components(self, number: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Mean `[C]`, directions `[C, N]`, and the share of the variance that they hold."""
        mean = self.total / self.cells
        covariance = self.products / self.cells - mean[:, None] * mean
        directions, variances = leading(covariance, number)
        whole = float(covariance.diagonal().sum())
        return mean, directions, float(variances.sum()) / whole if whole > 0 else 1.0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are added in one order, whatever the machine. One caller at a time: of two, the second would take the first
    one's number for everybody's, and leave it."""
    with _COUNT:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
