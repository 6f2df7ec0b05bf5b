"""Training views and evaluation windows of segmentation, against the published rules and the real sample."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.rendering.geometry import render
from pipeline.sources import ade20k, cityscapes
from pipeline.views import segmentation, segmentation_tiles
from pipeline.views.keep_ratio import keep_ratio
from shards.errors import ConfigError
from shards.geometry.view import View, cut_label

HALVES = np.zeros((512, 683), np.uint8)
HALVES[:, :300] = 1  # 44 % of the picture


def scale_of(view: View, height: int) -> float:
    return view.resized_px[0] / height


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((512, 683), 1.0, (512, 683)),
        ((364, 500), 1.0, (512, 703)),
        ((364, 500), 0.5, (256, 352)),
        ((189, 212), 1.125, (576, 646)),
        ((100, 1000), 1.0, (205, 2048)),  # longer than 4:1: the long side decides
        ((1, 9999), 0.5, (1, 1024)),
    ],
)
def test_pictures_keep_their_shape_inside_the_scaled_base(
    size: tuple[int, int], ratio: float, expected: tuple[int, int]
) -> None:
    assert keep_ratio(*size, (2048, 512), ratio) == expected


def test_training_views_are_functions_of_seed_key_and_number() -> None:
    plan, longer = segmentation.build(k=3), segmentation.build(k=5)
    views = plan.views("a", 512, 683, {"label": HALVES})
    assert longer.views("a", 512, 683, {"label": HALVES})[:3] == views
    assert len({*views, *plan.views("b", 512, 683, {"label": HALVES})}) == 6
    assert segmentation.build(k=3, seed=1).views("a", 512, 683, {"label": HALVES}) != views
    assert json.loads(json.dumps(plan.identity())) == plan.identity()
    assert plan.identity() != segmentation.build(k=3, category_limit=1).identity()


def test_training_views_have_the_published_scales_flips_and_padding() -> None:
    views = segmentation.build(k=400, category_limit=1).views("a", 512, 683)
    scales = [scale_of(view, 512) for view in views]
    assert 0.5 <= min(scales) < 0.52
    assert 1.98 < max(scales) <= 2.0
    assert np.mean(scales) == pytest.approx(1.25, abs=0.05)
    assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.07)
    for view in views:
        assert view.size_px == (512, 512)
        assert view.box_px == (0, 0, 683, 512)
        assert view.pad_px == tuple(max(512 - side, 0) for side in view.resized_px)
    large = [view for view in views if scale_of(view, 512) > 1.9]
    assert len({view.window_px[:2] for view in large}) == len(large)  # crops are drawn all over the picture


def test_a_crop_dominated_by_one_class_is_drawn_again() -> None:
    """At scale 2 a crop shows enough of the upper class only if its top lies in the first quarter of the offsets."""
    label = np.zeros((512, 512), np.uint8)
    label[:128] = 1

    def is_varied(view: View) -> bool:
        return 0.25 < cut_label(label, view, fill=255).mean() < 0.75

    free = segmentation.build(k=100, scale=(2, 2), category_limit=1).views("a", 512, 512)
    held = segmentation.build(k=100, scale=(2, 2)).views("a", 512, 512, {"label": label})
    assert np.mean([is_varied(view) for view in free]) == pytest.approx(0.25, abs=0.1)
    assert np.mean([is_varied(view) for view in held]) == pytest.approx(1 - 0.75**11, abs=0.05)


def test_ignored_pixels_do_not_count_as_a_class() -> None:
    """A label of one class and ignored pixels is never varied: all ten tries are used up, and the draw goes on."""
    label = np.full((512, 512), 255, np.uint8)
    label[:, ::2] = 3
    one = segmentation.build(k=4, scale=(2, 2)).views("a", 512, 512, {"label": label})
    tried = segmentation.build(k=4, scale=(2, 2)).views("a", 512, 512, {"label": np.zeros_like(label)})
    varied = segmentation.build(k=4, scale=(2, 2)).views("a", 512, 512, {"label": np.tile([0, 1], (512, 256))})
    assert one == tried != varied


def test_the_label_may_come_as_the_png_that_is_stored() -> None:
    buffer = io.BytesIO()
    Image.fromarray(HALVES).save(buffer, "PNG")
    plan = segmentation.build(k=4)
    assert plan.views("a", 512, 683, {"label": buffer.getvalue()}) == plan.views("a", 512, 683, {"label": HALVES})


def test_replay_makes_a_view_for_every_epoch_begun() -> None:
    plan = segmentation.build(mode="replay", epochs=63.34)
    assert plan.views_per_image == 64
    assert segmentation.build(mode="replay", epochs=2).views("a", 512, 683, {"label": HALVES}) == segmentation.build(
        k=2
    ).views("a", 512, 683, {"label": HALVES})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "mode k needs its number, for example k=8"),
        ({"mode": "replay"}, "mode replay needs its number, for example epochs"),
        ({"mode": "replay", "k": 3, "epochs": 3}, "mode replay does not read k"),
        ({"mode": "all"}, "mode is 'all'; expected k or replay"),
        ({"k": 1, "crop": 0}, "crop is 0"),
        ({"k": 1, "scale": (2.0, 0.5)}, "scale is"),
        ({"k": 1, "base": (512,)}, "base is"),
        ({"k": 1, "category_limit": 0}, "both are shares"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        segmentation.build(**options)


def test_a_limit_without_a_label_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"looks at the label 'label'; the source gives \['depth'\]"):
        segmentation.build(k=1).views("a", 512, 683, {"depth": HALVES})


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (512, [(0, 512)]),
        (300, [(0, 300)]),
        (683, [(0, 512), (171, 683)]),
        (853, [(0, 512), (341, 853)]),  # fits the stride exactly
        (854, [(0, 512), (341, 853), (342, 854)]),
        (1024, [(0, 512), (341, 853), (512, 1024)]),
    ],
)
def test_windows_are_a_stride_apart_and_the_last_is_moved_inside(length: int, expected: list[tuple[int, int]]) -> None:
    assert segmentation_tiles.window_spans(length, 512, 341) == expected


def test_flipped_windows_are_those_of_the_flipped_picture() -> None:
    """Windows of the mirrored picture, cut by hand, are what the flipped views show."""
    image = np.random.default_rng(0).integers(0, 256, (128, 213, 3), np.uint8)
    plan = segmentation_tiles.build(crop=128, stride=85, base=(512, 128), flip=True)
    views = plan.views("a", 128, 213)
    assert [view.flip for view in views] == [False, False, True, True]
    mirrored = image[:, ::-1]
    for view, left in zip(views[2:], (0, 85), strict=True):
        assert np.array_equal(render(image, view), mirrored[:, left : left + 128])


def test_a_narrow_picture_is_padded_to_the_window() -> None:
    (view, *_) = segmentation_tiles.build().views("a", 100, 1000)
    assert view.size_px == (512, 512)
    assert view.resized_px == (205, 2048)
    assert view.pad_px == (307, 0)


def test_multi_scale_makes_a_full_set_of_windows_for_each_ratio() -> None:
    plan = segmentation_tiles.build(ratios=segmentation_tiles.MULTI_SCALE, flip=True)
    views = plan.views("a", 512, 683)
    groups: dict[tuple[Any, ...], int] = {}
    for view in views:
        groups[view.resized_px, view.flip] = groups.get((view.resized_px, view.flip), 0) + 1
    sizes = [(512, 683), (576, 768), (640, 854), (704, 939), (768, 1025)]
    assert [size for size, flip in groups if not flip] == sizes
    assert [groups[size, False] for size in sizes] == [groups[size, True] for size in sizes] == [2, 4, 6, 6, 6]
    assert plan.views_per_image == len(views)


@pytest.mark.parametrize(
    "options", [{"stride": 600}, {"stride": 0}, {"ratios": []}, {"ratios": [1, 1.0]}, {"crop": 1.5}]
)
def test_windows_that_would_leave_gaps_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="views segmentation_tiles"):
        segmentation_tiles.build(**options)


def put_back(label: np.ndarray, views: list[View], ratio_px: tuple[int, int]) -> np.ndarray:
    """Label tiles -> their places on the grid -> the picture, by the grid's inverse: for each source pixel the first
    grid pixel that shows it."""
    grid = np.full(ratio_px, 254, np.uint8)
    for view in views:
        x0, y0, x1, y1 = view.window_px
        tile = cut_label(label, view, fill=253)[: y1 - y0, : x1 - x0]
        assert view.pad_px == (0, 0)
        grid[y0:y1, x0:x1] = tile[:, ::-1] if view.flip else tile
    height, width = label.shape
    full = View(ratio_px, (0, 0, width, height), ratio_px, (0, 0, ratio_px[1], ratio_px[0]))
    rows = cut_label(np.repeat(np.arange(height, dtype=np.int64)[:, None], width, 1), full)[:, 0]
    columns = cut_label(np.repeat(np.arange(width, dtype=np.int64)[None], height, 0), full)[0]
    return grid[np.searchsorted(rows, np.arange(height))][:, np.searchsorted(columns, np.arange(width))]


def test_windows_of_the_real_labels_put_back_are_the_labels(realdata: Path) -> None:
    """Every picture, every published ratio, unflipped and flipped. The grid is never coarser than these pictures."""
    source = ade20k.build(realdata / "ade20k/ADEChallengeData2016")
    plan = segmentation_tiles.build(ratios=segmentation_tiles.MULTI_SCALE, flip=True)
    checked = 0
    for split in source.splits:
        for key in source.keys(split):
            payload = source.load(split, key).labels["label"]
            assert isinstance(payload, bytes)
            label = np.array(Image.open(io.BytesIO(payload)))
            groups: dict[tuple[tuple[int, int], bool], list[View]] = {}
            for view in plan.views(key, *label.shape):
                groups.setdefault((view.resized_px, view.flip), []).append(view)
            assert len(groups) == 10
            for (resized, _), views in groups.items():
                assert np.array_equal(put_back(label, views, resized), label)
                checked += 1
    assert checked == 250


CITYSCAPES = {"crop": 1024, "base": (2048, 1024)}


def test_cityscapes_pictures_have_three_windows_at_one_scale() -> None:
    plan = segmentation_tiles.build(stride=512, **CITYSCAPES)
    views = plan.views("a", 1024, 2048)
    assert [view.window_px for view in views] == [(left, 0, left + 1024, 1024) for left in (0, 512, 1024)]
    assert {view.resized_px for view in views} == {(1024, 2048)}
    assert plan.views_per_image == 3
    assert segmentation_tiles.build().views_per_image == 2  # 4:3, where the base is no shape
    doubled = segmentation_tiles.build(stride=512, ratios=[0.5, 2.0], flip=True, **CITYSCAPES)
    found = [view for view in doubled.views("a", 1024, 2048) if not view.flip]
    assert [(view.resized_px, view.pad_px) for view in found] == [((512, 1024), (512, 0))] + [
        ((2048, 4096), (0, 0))
    ] * 21  # 3 x 7


def test_cityscapes_training_crops_are_1024_of_half_to_twice_the_picture() -> None:
    views = segmentation.build(k=200, category_limit=1, **CITYSCAPES).views("a", 1024, 2048)
    scales = [scale_of(view, 1024) for view in views]
    assert 0.5 <= min(scales) < 0.53
    assert 1.95 < max(scales) <= 2.0
    for view in views:
        assert view.size_px == (1024, 1024)
        rows, columns = view.resized_px
        assert columns == pytest.approx(2 * rows, abs=1)
        assert view.pad_px == (max(1024 - rows, 0), max(1024 - columns, 0))


def test_windows_of_the_real_cityscapes_labels_put_back_are_the_labels(realdata: Path) -> None:
    source = cityscapes.build(realdata / "cityscapes")
    plan = segmentation_tiles.build(stride=512, ratios=(1.0, 1.25), flip=True, **CITYSCAPES)
    for key in source.keys("train"):
        payload = source.load("train", key).labels["label"]
        assert isinstance(payload, bytes)
        label = np.array(Image.open(io.BytesIO(payload)))
        views = plan.views(key, *label.shape)
        assert len(views) == 2 * 3 + 2 * 2 * 4
        for resized in ((1024, 2048), (1280, 2560)):
            for flip in (False, True):
                members = [view for view in views if view.resized_px == resized and view.flip == flip]
                assert np.array_equal(put_back(label, members, resized), label)
