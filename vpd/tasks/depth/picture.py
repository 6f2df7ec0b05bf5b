"""One prediction of a picture, from those of its tiles and of their flipped copies.

Owns that the copies are averaged at the picture's own size (docs/methods/depth.md#evaluation). Tiles become a grid in
`vpd.tasks.stitch`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shards.errors import ContractError
from shards.geometry.view import View
from vpd.tasks.stitch import Blend, resized_to_box, stitch


def whole_picture(
    outputs: torch.Tensor, views: Sequence[View], fill: float | None, blend: Blend, key: str
) -> tuple[torch.Tensor, tuple[slice, slice]]:
    """Metres `[1, H, W]` of the part of the picture that the views show, and that part as (rows, columns).

    Args:
        outputs: `[V, 1, h, w]` metres, in the order of `views`.
        fill, blend: as of `stitch`.
        key: of the record, for messages.

    Raises:
        ContractError: the views leave pixels out, or show different parts.
    """
    grids = stitch(outputs, views, fill=fill, blend=blend)
    boxes = sorted({grid.box_px for grid in grids})
    if len(boxes) > 1:
        raise ContractError(
            f"record {key}: its views show the parts {boxes} of the picture; evaluation needs tiles of one part. Build "
            "the set with tiles for evaluation."
        )
    mean = torch.stack([resized_to_box(grid) for grid in grids]).mean(dim=0)  # [1, H, W]
    x0, y0, x1, y1 = boxes[0]
    return mean, (slice(y0, y1), slice(x0, x1))
