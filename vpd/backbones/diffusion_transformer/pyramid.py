"""Levels of several strides from maps of one: twice as fine by bilinear enlarging, coarser by averaging.

Nothing here learns: heads have convolutions of their own on every level. Sides are rounded up, as in a UNet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from vpd.enlarging import enlarged


def levels_of(maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Maps `[B, C, h, w]` -> the first at twice the size, the second as it is, then halved once more each."""
    finest, *rest = maps
    found = [enlarged(finest, (2 * finest.shape[-2], 2 * finest.shape[-1]), mode="bilinear")]  # [B, C, 2h, 2w]
    for times, values in enumerate(rest):
        for _ in range(times):  # each average is over the pixels there are
            values = F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)
        found.append(values)  # [B, C, ceil(h / 2^times), ceil(w / 2^times)]
    return found


def default_taps(blocks: int) -> tuple[int, ...]:
    """The blocks that end each quarter of a network: the earliest becomes the finest level, as plain vision
    transformers are read for dense prediction (BEiT; Ranftl et al., 2021)."""
    return tuple(max(-(-blocks * quarter // 4) - 1, 0) for quarter in (1, 2, 3, 4))
