"""An exponential moving average of the weights that learn, beside those that are trained (`optim.ema_decay`).

Owns the average, which stays on the device and waits for nothing, and the exchange of weights for an evaluation.
Running statistics of norms are averages already: those of the training stand with the averaged weights. How a reader
of a checkpoint gets the averaged ones is `vpd.training.resume`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_LISTS: Any = torch  # operations on lists of tensors, which are not in the type stubs
BLOCK = 64 * 2**20  # numbers that are moved at once: what an update needs beside weights and average


class WeightAverage:
    """The average of a model's trainable weights.

    Args:
        decay: what of the average each step keeps, in the end; step n keeps (1 + n) / (10 + n) where that is less, so
            that the average of a short run is not that of its beginning.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._learning.items()}
        self._blocks = list(self._split())

    @torch.no_grad()
    def after_step(self, step: int, skipped: torch.Tensor) -> None:
        """Take the weights of a finished step in.

        Args:
            step: from 1.
            skipped: float32 [], 1 where the step was not applied, so that there is nothing new.
        """
        keeps = min(self.decay, (1 + step) / (10 + step))
        share = (1 - skipped) * (1 - keeps)  # [], on the device: nobody here knows whether the step was applied
        for names in self._blocks:
            average = [self._average[name] for name in names]
            apart = _LISTS._foreach_sub([self._learning[name].detach() for name in names], average)
            _LISTS._foreach_mul_(apart, share)
            _LISTS._foreach_add_(average, apart)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The average by the names of the parameters, not copied."""
        return self._average

    @torch.no_grad()
    def restore(self, saved: Mapping[str, torch.Tensor] | None) -> None:
        """Go on from a saved average; without one, and for what did not learn then, from the weights as they are."""
        for name, average in self._average.items():
            average.copy_((saved or {}).get(name, self._learning[name].detach()))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights meanwhile; nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self._learning.items():
            parameter.data, self._average[name] = self._average[name], parameter.data

    def _split(self) -> Iterator[list[str]]:
        """The names in blocks of about `BLOCK` numbers."""
        names: list[str] = []
        for name in self._average:
            names.append(name)
            if sum(self._average[one].numel() for one in names) >= BLOCK or name == next(reversed(self._average)):
                yield names
                names = []
