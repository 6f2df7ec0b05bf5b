"""A network compiled for the one shape of batch that a build has, channels innermost: other bits, so it is recorded.

A build pads its last batches, so they have that shape, too. Whoever else calls an encoder with fewer rows gets them
padded here instead of a second compilation, and with more gets them in parts. A part of the network that cannot be
compiled is an error and not a silent return to the slow way.
"""

from __future__ import annotations

import torch
from torch import nn

BACKEND = "inductor"


class Compiled:
    """Calls `network` on batches [B, ...] of equal rows, which must not depend on each other.

    Compiled at the first call, whose number of rows is that of all others.
    """

    def __init__(self, network: nn.Module) -> None:
        # touches weights of convolutions only
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._network = torch.compile(network, fullgraph=True, dynamic=False, backend=BACKEND)
        self._rows = 0

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self._rows = self._rows or len(batch)
        return torch.cat([self._part(part) for part in batch.split(self._rows)])

    def _part(self, part: torch.Tensor) -> torch.Tensor:
        n = len(part)
        if n < self._rows:
            part = torch.cat([part, part.new_zeros(self._rows - n, *part.shape[1:])])
        if part.ndim == 4:
            part = part.contiguous(memory_format=torch.channels_last)
        return self._network(part)[:n]
