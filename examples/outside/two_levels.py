"""A backbone: two convolutions, and a sentence that says which channels of the first matter."""

import torch
from torch import nn

from vpd.backbones import Backbone, BackboneFacts, Companions, LatentLayout, Level


class TwoLevels(nn.Module, Backbone):
    def __init__(self, facts: BackboneFacts) -> None:
        super().__init__()
        self.facts = facts
        fine, coarse = (level.channels for level in facts.levels)
        self.fine = nn.Conv2d(facts.latents.channels, fine, 3, padding=1)
        self.coarse = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.gate = nn.Linear(facts.context_width, fine)

    def forward(self, latents: torch.Tensor, context: torch.Tensor, time: None = None) -> list[torch.Tensor]:
        gate = self.gate(context.mean(dim=1)).sigmoid()[:, :, None, None]  # [B, C, 1, 1]
        fine = self.fine(latents).relu() * gate
        return [fine, self.coarse(fine).relu()]


def build(channels: int = 16) -> TwoLevels:
    return TwoLevels(describe(channels))


def describe(channels: int = 16) -> BackboneFacts:
    return BackboneFacts(
        Companions(image="outside.patch_means", text="outside.word_codes"),
        LatentLayout(channels=3, stride_px=4),
        context_width=16,
        levels=(Level("f1", channels, stride=4), Level("f2", 2 * channels, stride=8)),
    )
