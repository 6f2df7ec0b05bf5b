"""Adapter between frozen text states and the UNet's cross-attention (docs/methods/vpd.md#text-adapter).

Owns `t + gamma * MLP(t)`. Where the text states come from (stored or encoded online) is left to the batch.
Parameter names follow the published checkpoints: `fc.0`, `fc.2`, `gamma`.
"""

from __future__ import annotations

import torch
from torch import nn


class TextAdapter(nn.Module):
    """Residual MLP with a learned gain per channel.

    Args:
        width: channels of a text state.
        gamma_init: start value of the gain; small, so that training starts from the pretrained conditioning.
        carried: channels behind the state, such as pooled text, that pass unchanged.
    """

    def __init__(self, width: int, gamma_init: float = 1e-4, carried: int = 0) -> None:
        super().__init__()
        self.carried = carried
        self.fc = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.gamma = nn.Parameter(torch.full((width,), gamma_init))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """`[B, T, width + carried]` of any float type to the same shape."""
        text = text.to(self.gamma.dtype)
        if not self.carried:
            return text + self.gamma * self.fc(text)
        state, carried = text.tensor_split([text.shape[-1] - self.carried], dim=-1)
        return torch.cat([state + self.gamma * self.fc(state), carried], dim=-1)
