"""One context token out of what a frozen image classifier says of a view, in place of text (ECoDepth).

Owns the layers between the stored vector and the token; the vector is the set's field `vision`
(`vpd.model.device_batch`). The published form (docs/methods/depth.md#ecodepth): logits to weights over a learned table,
and the mixed row through VPD's text adapter. Parameter names follow the published code: `fc.0`, `fc.2`, `embeddings`,
`embedding_adapter.fc.*` and `gamma`, but for the last, which is the adapter's here.
"""

from __future__ import annotations

import torch
from torch import nn

from vpd.model.settings import VisionConfig
from vpd.model.text_adapter import TextAdapter


class ImageToken(nn.Module):
    """Vectors to single tokens.

    Args:
        said: numbers of a vector.
        width: channels of the token: the backbone's context.
        config: rows of the table, and the hidden layer.
        gamma_init: start value of the adapter's gain.
    """

    def __init__(self, said: int, width: int, config: VisionConfig, gamma_init: float = 1e-4) -> None:
        super().__init__()
        self.config, self.said = config, said
        self.fc = nn.Sequential(nn.Linear(said, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.classes))
        self.embeddings = nn.Parameter(torch.randn(config.classes, width))
        self.embedding_adapter = TextAdapter(width, gamma_init)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """`[B, said]` of any float type to `[B, 1, width]`."""
        weights = self.fc(vectors.to(self.embeddings.dtype)).softmax(dim=-1)  # [B, classes]
        return self.embedding_adapter((weights @ self.embeddings)[:, None])
