"""The way back from views to the picture: by hand, against the official windows, and as the inverse of `cut_label`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import ContractError
from shards.geometry.view import View, cut_label
from vpd.tasks.depth.metric import DepthMetric
from vpd.tasks.stitch import blend_of, resized_to_box, stitch


def window(x0, y0, x1, y1, of, flip=False, pad=(0, 0), box=None):
    size = (y1 - y0 + pad[0], x1 - x0 + pad[1])
    return View(size, box or (0, 0, of[1], of[0]), of, (x0, y0, x1, y1), flip=flip, pad_px=pad)


def test_overlaps_are_averaged_by_coverage_and_flips_undone():
    """Two windows of 2 x 3 on a grid of 2 x 4, the second flipped copies of the same."""
    left, right = torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([[10.0, 20, 30], [40, 50, 60]])
    views = [window(x, 0, x + 3, 2, (2, 4), flip=flip) for flip in (False, True) for x in (0, 1)]
    outputs = torch.stack([left, right, 2 * left.flip(-1), 2 * right.flip(-1)])[:, None]
    plain, flipped = stitch(outputs, views)
    expected = torch.tensor([[1, 6, 11.5, 30], [4, 22.5, 28, 60]])
    assert (plain.flip, flipped.flip) == (False, True)
    torch.testing.assert_close(plain.output[0], expected)
    torch.testing.assert_close(flipped.output[0], 2 * expected)
    assert (plain.resized_px, plain.box_px) == ((2, 4), (0, 0, 4, 2))


@pytest.mark.parametrize("padded", [True, False])
def test_padding_is_cut_whether_or_not_it_was_predicted(padded):
    """Padding is added after the flip, so it is cut before the flip is undone."""
    picture = torch.arange(6.0).view(2, 3)
    shown = torch.full((4, 5), torch.nan)
    shown[:2, :3] = picture.flip(-1)
    (found,) = stitch((shown if padded else shown[:2, :3])[None, None], [window(0, 0, 3, 2, (2, 3), True, (2, 2))])
    assert torch.equal(found.output[0], picture)


@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    side=st.integers(1, 12),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 9),
)
def test_the_views_of_a_picture_stitch_back_to_it(size, side, pad, seed):
    """Cutting a picture as labels are cut and stitching it is the identity, for any tiling that covers it."""
    picture = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    height, width = min(side, size[0]), min(side, size[1])
    starts = [sorted({*range(0, n - h + 1, max(1, h // 2)), n - h}) for n, h in zip(size, (height, width), strict=True)]
    views = [
        window(x, y, x + width, y + height, size, flip, pad)
        for flip in (False, True)
        for y in starts[0]
        for x in starts[1]
    ]
    outputs = torch.stack([torch.tensor(cut_label(picture, view, fill=np.nan).copy()) for view in views])[:, None]
    for found in stitch(outputs, views):
        torch.testing.assert_close(found.output[0].numpy(), picture, rtol=1e-6, atol=1e-6)


def test_groups_are_those_of_one_box_size_and_flip():
    views = [
        window(0, 0, 4, 4, (4, 4)),
        window(0, 0, 4, 4, (4, 4), flip=True),
        window(0, 0, 4, 4, (4, 4), box=(0, 0, 8, 8)),
        window(0, 0, 6, 6, (6, 6), box=(0, 0, 8, 8)),
    ]
    with pytest.raises(ContractError, match="one of the two"):
        stitch(torch.zeros(4, 1, 4, 4), views)
    found = stitch(torch.zeros(3, 2, 4, 4), views[:3])
    assert [(s.box_px, s.resized_px, s.flip) for s in found] == [
        ((0, 0, 4, 4), (4, 4), False),
        ((0, 0, 4, 4), (4, 4), True),
        ((0, 0, 8, 8), (4, 4), False),
    ]


def test_a_hole_is_an_error_or_the_fill():
    views = [window(0, 0, 2, 2, (2, 5)), window(3, 0, 5, 2, (2, 5))]
    with pytest.raises(ContractError, match=r"cover 80\.0% .* 2 pixels have no prediction.* tiles"):
        stitch(torch.ones(2, 1, 2, 2), views)
    (found,) = stitch(torch.ones(2, 1, 2, 2), views, fill=-1.0)
    assert found.output[0, 0].tolist() == [1, 1, -1, 1, 1]


def test_a_missing_prediction_is_named():
    with pytest.raises(ContractError, match="1 predictions for 2 views"):
        stitch(torch.ones(1, 1, 2, 2), [window(0, 0, 2, 2, (2, 2))] * 2)


def test_a_grid_comes_back_to_the_size_of_its_box():
    view = window(0, 0, 4, 2, (2, 4), box=(10, 20, 18, 24))
    ramp = torch.arange(4.0).expand(1, 1, 2, 4)
    (found,) = stitch(ramp, [view])
    grown = resized_to_box(found)
    assert grown.shape == (1, 4, 8)
    assert grown[0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]  # half-pixel corners, ends held
    (same,) = stitch(ramp, [window(0, 0, 4, 2, (2, 4))])
    assert resized_to_box(same) is same.output


@pytest.mark.parametrize(("shift", "flip"), [(2, 1), (3, 1), (2, 0)])
def test_windows_and_flips_give_the_official_prediction_and_scores(shift, flip, golden_depth_metrics):
    """The recorded predictor, on the windows that the official test-time code handed to it."""
    golden, name = golden_depth_metrics, f"tta_shift{shift}_flip{flip}"
    image = golden["tta.image_small_u8"].repeat_interleave(8, 2).repeat_interleave(8, 3)[0].float() / 255
    ramp = torch.linspace(0, 1, 480) + 0.5 * torch.linspace(0, 1, 480)[:, None]
    starts = [i * (160 // (shift - 1)) for i in range(shift)]
    views = [window(x, 0, x + 480, 480, (480, 640), bool(f)) for x in starts for f in range(1 + flip)]
    shown = [image[..., v.window_px[0] : v.window_px[2]] for v in views]
    shown = [x.flip(-1) if v.flip else x for x, v in zip(shown, views, strict=True)]
    outputs = torch.stack([1 + 2 * x.mean(0, keepdim=True) + ramp * 1.4 for x in shown])
    assert [list(outputs.shape[:1]), [4] * len(outputs)] == [
        golden.facts[name]["predictor_calls"][0][0][:1],
        golden.facts[name]["predictor_calls"][0][1],
    ]
    found = torch.stack([s.output for s in stitch(outputs, views)]).mean(0)[0]
    torch.testing.assert_close(found[1::4, 2::4], golden[f"{name}.pred_every4"], rtol=0, atol=1e-5)
    metric = DepthMetric(1e-3, 10.0, "nyu")
    metric.update(found, golden["nyu.gt_mm"].float() / 1000)
    assert metric.compute() == pytest.approx(golden.facts[name]["metrics"], rel=1e-5)


def test_what_one_window_shows_is_kept_and_overlaps_go_over_from_one_to_the_other():
    """Two windows of 8 columns on 12: 0 and 1 everywhere; seamless, the overlap is a ramp from one to the other."""
    views = [window(0, 0, 8, 4, (4, 12)), window(4, 0, 12, 4, (4, 12))]
    outputs = torch.stack([torch.zeros(1, 4, 8), torch.ones(1, 4, 8)])
    (found,) = stitch(outputs, views, blend="seamless")
    row = found.output[0, 0]
    assert row[:4].tolist() == [0] * 4
    assert row[8:].tolist() == [1] * 4
    torch.testing.assert_close(row[4:8], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    assert torch.equal(found.output[0], row.expand(4, 12)), "rows that all windows share do not change the shares"


def test_only_a_record_that_says_so_is_blended():
    assert blend_of(SimpleNamespace(meta={})) == "mean"
    assert blend_of(SimpleNamespace(meta={"blend": "seamless"})) == "seamless"


def test_across_every_edge_of_a_window_the_jump_is_no_larger_than_beside_it():
    """Smooth windows that disagree, in rows and columns; averaged by coverage, every edge is a step."""
    size, side = (20, 90), 20
    views = [window(x, 0, x + side, side, size, flip) for flip in (False, True) for x in (0, 13, 26, 39, 52, 65, 70)]
    x = torch.linspace(0, 1, side)
    outputs = torch.stack([(n % 3) + 0.3 * torch.sin(3 * x + n).expand(1, side, side) for n in range(len(views))])

    def worst(blend):
        picture = torch.stack([found.output[0] for found in stitch(outputs, views, blend=blend)]).mean(0)
        jumps = picture.diff(dim=1).abs().mean(0)  # [x]: from column x to x + 1
        edges = {x for view in views for x in (view.window_px[0], view.window_px[2])} - {0, size[1]}
        return max(float(jumps[x - 1] / max(jumps[x - 2], jumps[x])) for x in edges)

    assert worst("seamless") <= 1
    assert worst("mean") > 3
