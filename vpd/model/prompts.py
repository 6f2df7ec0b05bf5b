"""Learned prompts in place of text, and learned times in place of the timestep (Meta Prompts).

Owns the parameters of every pass and how they become its context. Running the passes is `vpd.model.perception`'s;
comparing features with the last context is the head's. Published forms (docs/methods/meta_prompts.md#prompts): depth
has prompts of its own for every pass, each through an MLP; segmentation shares one set among the passes, without an
MLP.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from vpd.model.settings import PromptConfig


class LearnedPrompts(nn.Module):
    """Context and time embedding of every pass.

    Args:
        config: how many.
        width: channels of a prompt: the UNet's context.
        time_width: channels of a time embedding.
    """

    def __init__(self, config: PromptConfig, width: int, time_width: int) -> None:
        super().__init__()
        self.config = config
        sets = 1 if config.shared else config.passes
        self.tokens = nn.ParameterList(nn.Parameter(torch.randn(config.count, width)) for _ in range(sets))
        self.times = nn.ParameterList(nn.Parameter(torch.randn(1, time_width)) for _ in range(config.passes))
        self.adapters = nn.ModuleList(_Mlp(width) for _ in range(config.passes if config.adapter else 0))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`(context [1, N, width], time [1, time_width])` of each pass."""
        for number, time in enumerate(self.times):
            tokens = self.tokens[0 if self.config.shared else number]
            context = self.adapters[number](tokens) if self.config.adapter else tokens
            yield context[None], time


class _Mlp(nn.Module):
    """Two layers, without the residual and the gain that VPD's text adapter has; `fc` as in published checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc(tokens)
