"""Cross entropy of the classes of pixels, in the form that the process asks for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def pixel_entropy(logits: torch.Tensor, label: torch.Tensor, **options: Any) -> torch.Tensor:
    """`torch.nn.functional.cross_entropy` of `[B, C, h, w]` against int64 `[B, h, w]`, with its options.

    On a GPU torch adds up the loss of pictures in any order, that of rows always in the same: rows cost a copy of the
    logits, so they are made only where the same bits are asked for (`loop.deterministic`).
    """
    if torch.are_deterministic_algorithms_enabled():
        logits, label = logits.movedim(1, -1).flatten(0, -2), label.flatten()  # [B h w, C], [B h w]
    return F.cross_entropy(logits, label, **options)
