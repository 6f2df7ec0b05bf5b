"""A picture put together a few rows at a time: the same numbers as at once, in memory that does not grow with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.views import segmentation_tiles
from shards.errors import ContractError
from vpd.heads.ops.resize import resize
from vpd.tasks import stripes
from vpd.tasks.seg import task as seg
from vpd.tasks.stitch import Blend, grouped, resized_to_box, stitch

CLASSES, CROP = 7, 32


def cut(height: int, width: int, **options: Any):
    plan = segmentation_tiles.build(crop=CROP, stride=21, base=options.pop("base", (128, CROP)), **options)
    return plan.views("img", height, width)


def record(views, **meta):
    return SimpleNamespace(key="img", meta={"views": [view.to_json() for view in views], **meta})


def at_once(outputs, views, blend: Blend):
    """Every scale and flip on the whole box, by `stitch`."""
    parts = []
    for members in grouped(views).values():
        windows = resize(outputs[members].float(), views[0].size_px)
        (found,) = stitch(windows, [views[i] for i in members], blend=blend)
        parts.append(resized_to_box(found).softmax(0))
    return torch.stack(parts).mean(0)


@pytest.mark.parametrize("blend", ["mean", "seamless"])
@pytest.mark.parametrize(
    ("size", "options"),
    [((40, 66), {}), ((90, 50), {"ratios": [1.0, 1.5], "flip": True}), ((10, 64), {"base": (64, CROP)})],
)
def test_rows_are_those_of_the_whole(size, options, blend, monkeypatch):
    """Enlarged and shrunk grids, flips, padding; stripes of a few rows, the last one shorter."""
    monkeypatch.setattr(stripes, "STRIPE_BYTES", 4 * CLASSES * size[1] * 7)
    views = cut(*size, **options)
    outputs = torch.randn(len(views), CLASSES, CROP // 8, CROP // 8, generator=torch.Generator().manual_seed(0)) * 3
    task, one = seg.build(classes=CLASSES), record(views, blend=blend)
    whole, _ = task.picture(one, outputs)
    torch.testing.assert_close(whole, at_once(outputs, views, blend), rtol=0, atol=1e-5)
    assert torch.equal(task.class_map(one, outputs), whole.argmax(0).to(torch.uint8))


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.n_bytes = max(self.n_bytes, found.numel() * found.element_size())
        return found


def test_no_tensor_grows_with_the_picture_times_its_classes(monkeypatch):
    monkeypatch.setattr(stripes, "STRIPE_BYTES", 1 << 17)
    views = cut(200, 300, base=(128, CROP))
    outputs = torch.randn(len(views), 40, CROP // 8, CROP // 8)
    task = seg.build(classes=40)
    with Largest() as largest:
        found = task.class_map(record(views), outputs)
    assert found.shape == (200, 300)
    assert largest.n_bytes < 4 << 17 < 40 * 200 * 300  # a few stripes; all classes of the picture are 9.6 MB


def test_stripes_cover_every_row_once():
    parts = list(stripes.stripes(1000, 5472, 150))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(1000))
    assert max(part.stop - part.start for part in parts) * 5472 * 150 * 4 <= stripes.STRIPE_BYTES
    assert len(list(stripes.stripes(3, 10**9, 150))) == 3, "a row is never cut"


def test_windows_that_leave_pixels_out_and_missing_predictions_are_refused():
    views = cut(40, 66)
    with pytest.raises(ContractError, match=r"the views cover .* pixels have no prediction"):
        stripes.StripedGrid(torch.zeros(1, CLASSES, 4, 4), views[:1], "mean")
    with pytest.raises(ContractError, match="1 predictions for 2 views"):
        stripes.StripedGrid(torch.zeros(1, CLASSES, 4, 4), views, "mean")
