"""From the predictions of a picture's views back to the picture.

Owns the way back along the recorded geometry of `shards.geometry.view.View`: padding cut off, flip undone, window put
in its place on the resized grid, overlaps averaged by coverage. Views of one box, one resized size and one flip belong
together; they come back as one `Stitched` each, because published evaluations differ in what happens to flipped and
rescaled copies next (averaged as they are for depth, as probabilities for segmentation), which is the task's.

Two ways to average (`Blend`): `mean`, by coverage, as published, which leaves a step where a window begins or ends; and
`seamless`, for pictures that people look at, in which a window counts less and less towards its own edges. A record of
a set has its published way; a picture that belongs to no set says in meta["blend"] what it wants (`blend_of`).

Depth as published averages a window with its flipped copy first and the windows by coverage then
(docs/methods/depth.md#evaluation). Where each window has both, that is the mean of the two `Stitched`, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F

from shards.errors import ContractError
from shards.geometry.view import Box, Size, View

if TYPE_CHECKING:
    from shards.reading.reader import StoredRecord

Blend = Literal["mean", "seamless"]


@dataclass(frozen=True)
class Stitched:
    """One prediction on a whole resized grid.

    Attributes:
        resized_px: (h, w) of the grid.
        flip: whether its views were flipped; `output` is not.
        output: `[C, h, w]`, float32.
        box_px: what the grid shows of the picture, (x0, y0, x1, y1) half-open.
    """

    resized_px: Size
    flip: bool
    output: torch.Tensor
    box_px: Box


def blend_of(record: StoredRecord) -> Blend:
    """How a record's windows are averaged: `mean`, unless it says that it wants them `seamless`."""
    return "seamless" if record.meta.get("blend") == "seamless" else "mean"


def stitch(
    outputs: torch.Tensor, views: Sequence[View], *, fill: float | None = None, blend: Blend = "mean"
) -> list[Stitched]:
    """Put the predictions of a record's views together.

    Args:
        outputs: `[V, C, h, w]` in the order of `views`, at the views' size with or without their padding, or at the
            size of the windows where the views are enlarged.
        views: the geometry of each prediction.
        fill: value of grid pixels that no window covers. Published KITTI evaluation leaves 9 columns uncovered
            (docs/methods/depth.md#kitti); without a fill that is an error.
        blend: how overlaps are averaged, see the module.

    Returns:
        One grid per (box, resized size, flip), in the order in which they first appear.

    Raises:
        ContractError: another number of views, a prediction of another size, or an uncovered pixel.
    """
    if len(outputs) != len(views):
        raise ContractError(f"{len(outputs)} predictions for {len(views)} views; expected one for each.")
    return [
        Stitched(resized, flip, _grid(outputs[members], [views[i] for i in members], resized, fill, blend), box)
        for (box, resized, flip), members in grouped(views).items()
    ]


def grouped(views: Sequence[View]) -> dict[tuple[Box, Size, bool], list[int]]:
    """The indices of the views that belong together, by (box, resized size, flip)."""
    groups: dict[tuple[Box, Size, bool], list[int]] = {}
    for index, view in enumerate(views):
        groups.setdefault((view.box_px, view.resized_px, view.flip), []).append(index)
    return groups


def cover_of(views: Sequence[View], resized_px: Size, blend: Blend, *, may_be_bare: bool) -> torch.Tensor:
    """The sum of the windows' weights `[h, w]` on their grid.

    Raises:
        ContractError: pixels that no window covers, unless they may be.
    """
    cover = torch.zeros(resized_px)
    for view in views:
        x0, y0, x1, y1 = view.window_px
        cover[y0:y1, x0:x1] += weight_of(view, blend)
    bare = int((cover == 0).sum())
    if bare and not may_be_bare:
        raise ContractError(
            f"the views cover {1 - bare / cover.numel():.1%} of the picture resized to {resized_px}: {bare} pixels "
            "have no prediction. Evaluate on a set whose views are tiles that cover each picture."
        )
    return cover


def weight_of(view: View, blend: Blend, rows: slice = slice(None)) -> torch.Tensor:
    """How much each pixel of a window's `rows` counts, `[h, w]`: all the same, or rising linearly from every edge
    inwards.

    The weights of the windows that cover a pixel are divided by their sum, so what only one window shows is that
    window's, up to the border of the picture.
    """
    height, width = view.content_px
    if blend == "mean":
        return torch.ones(height, width)[rows]
    return _rising(height)[rows, None] * _rising(width)


def _rising(length: int) -> torch.Tensor:
    places = torch.arange(length) + 0.5
    return torch.minimum(places, length - places) / length


def resized_to_box(stitched: Stitched, *, align_corners: bool = False) -> torch.Tensor:
    """The grid at the box's own size `[C, H, W]`: bilinear, or untouched where the view did not resize."""
    x0, y0, x1, y1 = stitched.box_px
    if stitched.resized_px == (y1 - y0, x1 - x0):
        return stitched.output
    size = (y1 - y0, x1 - x0)
    return F.interpolate(stitched.output[None], size=size, mode="bilinear", align_corners=align_corners)[0]


def _grid(
    outputs: torch.Tensor, views: Sequence[View], resized_px: Size, fill: float | None, blend: Blend
) -> torch.Tensor:
    """Predictions `[V, C, h, w]` of one group, averaged on their grid `[C, *resized_px]`."""
    cover = cover_of(views, resized_px, blend, may_be_bare=fill is not None).to(outputs.device)
    total = torch.zeros(outputs.shape[1], *resized_px, device=outputs.device)
    for output, view in zip(outputs, views, strict=True):
        x0, y0, x1, y1 = view.window_px
        content = _content(output, view)
        total[:, y0:y1, x0:x1] += content if blend == "mean" else content * weight_of(view, blend).to(content.device)
    grid = total.div_(torch.where(cover > 0, cover, 1.0))
    return grid if fill is None else torch.where(cover > 0, grid, fill)


def _content(output: torch.Tensor, view: View) -> torch.Tensor:
    """A prediction `[C, h, w]` without padding, not flipped."""
    size, content = tuple(output.shape[-2:]), view.content_px
    if size not in (view.size_px, content):
        raise ContractError(
            f"a prediction of {size} for a view of {view.size_px} with {content} of picture; expected one of the two."
        )
    output = output.float()
    if size != content and view.enlarged_px is not None:
        output = F.interpolate(output[None], size=content, mode="bilinear", align_corners=False)[0]
    elif size != content:
        top, left = view.pad_before_px
        output = output[:, top : top + content[0], left : left + content[1]]
    return output.flip(-1) if view.flip else output
