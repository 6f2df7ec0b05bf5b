"""Many classes of a large picture, a few rows at a time.

A prediction of 150 classes for 20 megapixels is 12 GB. What is looked at, written or counted of it is one number a
pixel, and that needs a stripe of rows at once. Owns the same way back to the picture as `vpd.tasks.stitch`, whose
weights and order of steps it takes, computed for any rows alone: enlarge the model's answers to their windows, average
the windows on the resized grid, resize the grid to the box. Bilinear resizing is separable, so every row of its result
needs two rows of its input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from shards.errors import ContractError
from shards.geometry.view import View
from vpd.heads.ops.resize import resize
from vpd.tasks.stitch import Blend, cover_of, weight_of

STRIPE_BYTES = 64 << 20  # of one stripe of all classes; about five of this size exist at once


def stripes(height: int, width: int, classes: int) -> Iterator[slice]:
    """The rows of a picture, cut so that all classes of a part take `STRIPE_BYTES`."""
    rows = max(STRIPE_BYTES // (4 * classes * width), 1)
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


class StripedGrid:
    """The windows of one box, resized size and flip, at the box's size.

    Args:
        outputs: `[V, C, h, w]`, as the head gives them: at the views' size or smaller.
        views: their geometry.
        blend: how overlaps are averaged.

    Raises:
        ContractError: another number of views, or pixels that no window covers.
    """

    def __init__(self, outputs: torch.Tensor, views: Sequence[View], blend: Blend) -> None:
        if len(outputs) != len(views):
            raise ContractError(f"{len(outputs)} predictions for {len(views)} views; expected one for each.")
        self.outputs, self.views = outputs, views
        self.blend: Blend = blend
        self.resized_px = views[0].resized_px
        x0, y0, x1, y1 = views[0].box_px
        self.size_px = (y1 - y0, x1 - x0)
        self._cover = cover_of(views, self.resized_px, blend, may_be_bare=False).to(outputs.device)

    def rows(self, part: slice) -> torch.Tensor:
        """Rows of the box, float32 `[C, rows, W]`."""
        if self.resized_px == self.size_px:
            return self._grid_rows(part.start, part.stop)
        upper, lower, share = _neighbours(self.resized_px[0], self.size_px[0], part, self.outputs.device)
        first = int(upper[0])
        grid = _wide(self._grid_rows(first, int(lower[-1]) + 1), self.size_px[1])
        return _between(grid, upper - first, lower - first, share)

    def _grid_rows(self, first: int, end: int) -> torch.Tensor:
        """Rows of the resized grid, `[C, rows, w]`."""
        classes, width = self.outputs.shape[1], self.resized_px[1]
        total = torch.zeros(classes, end - first, width, device=self.outputs.device)
        for output, view in zip(self.outputs, self.views, strict=True):
            x0, y0, x1, y1 = view.window_px
            rows = slice(max(first, y0) - y0, min(end, y1) - y0)  # of the window
            if rows.start >= rows.stop:
                continue
            content = _content_rows(output, view, rows)
            if self.blend != "mean":
                content = content * weight_of(view, self.blend, rows).to(content.device)
            total[:, y0 + rows.start - first : y0 + rows.stop - first, x0:x1] += content
        return total.div_(self._cover[first:end])


def _content_rows(output: torch.Tensor, view: View, rows: slice) -> torch.Tensor:
    """Rows of what a window shows, `[C, rows, w]`, from its prediction `[C, h, w]`: enlarged, no padding, no flip."""
    if view.enlarged_px is not None:
        shown = resize(resize(output[None].float(), view.size_px), view.content_px)[0][:, rows]
    else:
        top, left = view.pad_before_px
        padded = slice(top + rows.start, top + rows.stop)
        if output.shape[1] == view.size_px[0]:
            tall = output[:, padded].float()
        else:
            tall = _between(output.float(), *_neighbours(output.shape[1], view.size_px[0], padded, output.device))
        shown = _wide(tall, view.size_px[1])[:, :, left : left + view.content_px[1]]
    return shown.flip(-1) if view.flip else shown


def _neighbours(
    source: int, target: int, part: slice, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The rows above and below every row of `part`, and the share of the lower one, where `source` rows become `target`
    rows, bilinear, corners not aligned."""
    centres = (torch.arange(part.start, part.stop, dtype=torch.float64) + 0.5) * (source / target) - 0.5
    centres = centres.clamp(min=0)
    upper = centres.floor().long().clamp(max=source - 1)
    share = (centres - upper).float()
    return upper.to(device), (upper + 1).clamp(max=source - 1).to(device), share.to(device)


def _between(x: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return torch.lerp(x.index_select(1, upper), x.index_select(1, lower), share[:, None])


def _wide(x: torch.Tensor, width: int) -> torch.Tensor:
    """`[C, rows, w]` at another width, bilinear, corners not aligned."""
    return x if x.shape[-1] == width else F.interpolate(x, size=width, mode="linear", align_corners=False)
