"""Depth views: the published draws, recorded completely; a pattern shows that pictures and labels are cut alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import depth, depth_tiles
from shards.errors import ConfigError, Reject
from shards.geometry.view import View, cut_label

H, W = 480, 640


def many(n: int = 2000, **options: Any) -> list[View]:
    return depth.build(mode="k", k=n, **options).views("basement-rgb_00000", H, W)


def pattern(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(image, label): every pixel of the image spells its own place, every label value is that place."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 251, columns % 251, (rows // 251) * 16 + columns // 251], -1).astype(np.uint8)
    return image, (rows * width + columns + 1).astype(np.float32)


def places(shown: np.ndarray, width: int) -> np.ndarray:
    """The label values that a rendered pattern spells."""
    row, column, high = (shown[..., channel].astype(np.int64) for channel in range(3))
    return ((high // 16 * 251 + row) * width + high % 16 * 251 + column + 1).astype(np.float32)


def test_views_are_a_function_of_seed_key_and_index() -> None:
    plan = depth.build(mode="replay", epochs=25)
    views = plan.views("a", H, W)
    assert plan.views("a", H, W) == views
    assert depth.build(mode="k", k=40).views("a", H, W)[:25] == views, "more views leave the first ones alone"
    assert plan.views("b", H, W) != views
    assert depth.build(mode="replay", epochs=25, seed=1).views("a", H, W) != views
    assert [View.from_json(view.to_json()) for view in views] == views


def test_replay_has_a_distinct_view_for_every_epoch() -> None:
    plan = depth.build(mode="replay", epochs=24.2)
    assert plan.views_per_image == 25
    for key in ("kitchen_0001-rgb_00007", "00432"):
        assert len(set(plan.views(key, H, W))) == 25


def test_draws_have_their_published_ranges_and_frequencies() -> None:
    views = many()
    assert {view.size_px for view in views} == {(512, 512)}
    assert {view.pad_px for view in views} == {(32, 32)}
    assert {view.box_px[1::2] for view in views} == {(0, 480)}
    assert {view.box_px[2] - view.box_px[0] for view in views} == {480}
    columns = [view.box_px[0] for view in views]
    assert (min(columns), max(columns)) == (0, 160)
    assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.04)
    steps = [step for view in views for step in view.colour]
    share = {name: sum(step[0] == name for step in steps) / len(views) for name in {step[0] for step in steps}}
    assert share == {
        "brightness_contrast": pytest.approx(0.5, abs=0.04),
        "gamma": pytest.approx(0.5, abs=0.04),
        "hue_saturation_value": pytest.approx(0.5, abs=0.04),
        "cut_depth_wrapped": pytest.approx(0.25, abs=0.04),
    }
    limits = {
        "brightness_contrast": ((0.8, 1.2), (-51, 51)),
        "gamma": ((0.8, 1.2),),
        "hue_saturation_value": ((-20, 20), (-30, 30), (-20, 20)),
    }
    for name, ranges in limits.items():
        drawn = np.array([step[1:] for step in steps if step[0] == name])  # [draws, numbers]
        for numbers, (low, high) in zip(drawn.T, ranges, strict=True):
            assert low <= numbers.min() < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < numbers.max() <= high


def test_steps_stand_in_the_published_order() -> None:
    order = ["cut_depth_wrapped", "brightness_contrast", "gamma", "hue_saturation_value"]
    for view in many(200, recolour=1.0, cut_depth_probability=1.0):
        assert [step[0] for step in view.colour] == order


def test_strips_are_inside_and_as_wide_as_published() -> None:
    strips = np.array([view.colour[0][1:] for view in many(recolour=0.0, cut_depth_probability=1.0)], int)  # [V, 2]
    x0, x1 = strips.T
    assert (x0 >= 0).all()
    assert (x1 > x0).all()
    assert (x1 - x0 <= np.maximum((W - x0) * 0.75, 1)).all()
    assert np.mean(x0) == pytest.approx(W / 2, rel=0.05)
    assert np.mean((x1 - x0) / (W - x0)) == pytest.approx(0.375, rel=0.05)


def test_options_change_what_they_name_and_nothing_else() -> None:
    plain = many(50)
    for changed, forget in (
        (many(50, flip=0.0), {"flip": False}),
        (many(50, recolour=0.0, cut_depth="none"), {"colour": ()}),
    ):
        assert changed == [replace(view, **forget) for view in plain]
    scaled = many(50, cut_depth="scaled", max_depth_m=8.0)
    for one, other in zip(plain, scaled, strict=True):
        strips = [("cut_depth_scaled", *step[1:], 8.0) for step in one.colour if step[0] == "cut_depth_wrapped"]
        assert other == replace(one, colour=(*strips, *one.colour[len(strips) :]))


def test_pictures_and_labels_show_the_same_places() -> None:
    image, label = pattern(H, W)
    for view in many(40, recolour=0.0, cut_depth="none") + depth_tiles.build().views("", H, W):
        cut = cut_label(label, view)
        assert cut.shape == view.size_px
        np.testing.assert_array_equal(places(render(image, view), W), cut[:480, :480])
        assert not cut[480:].any()
        assert not cut[:, 480:].any()
        pixels = to_pixels([render(image, view)], view.size_px)
        assert not pixels[..., 480:, :].any(), "padding is zero after normalising"
        assert not pixels[..., 480:].any()


def test_resized_pictures_and_labels_show_the_same_places() -> None:
    columns = np.broadcast_to(np.linspace(0, 255, W), (H, W))
    image = np.repeat(columns.round().astype(np.uint8)[..., None], 3, axis=2)
    recipe = many(40, recipe="mmseg_512", recolour=0.0, cut_depth="none")
    for view in recipe + depth_tiles.build(short_side=512, stride=128).views("", H, W):
        height, width = view.content_px
        shown = render(image, view)[..., 0].astype(np.float32)
        cut = cut_label(columns.astype(np.float32), view)[:height, :width]
        assert np.abs(shown - cut).max() < 1.2  # half a level, and what lies between two pixels


def test_mmseg_512_resizes_by_its_ratio_then_crops_and_pads() -> None:
    views = many(400, recipe="mmseg_512")
    heights = np.array([view.resized_px[0] for view in views])
    assert heights.min() in range(409, 425)
    assert heights.max() in range(750, 769)
    for view in views:
        assert view.box_px == (0, 0, W, H)
        assert abs(view.resized_px[1] - view.resized_px[0] * 4 / 3) <= 1
        assert view.pad_px == (max(512 - view.resized_px[0], 0), max(512 - view.resized_px[1], 0))
        assert view.size_px == (512, 512)
    assert any(view.pad_px[0] for view in views)
    assert len({view.window_px[1] for view in views}) > 50, "rows are random where there is room"


def test_a_picture_smaller_than_the_crop_is_shown_whole_and_padded() -> None:
    (view,) = depth.build(mode="k", k=1).views("k", 300, 640)
    assert (view.box_px[1], view.box_px[3], view.pad_px) == (0, 300, (212, 32))


def test_identity_names_everything_that_decides_a_view() -> None:
    identity = depth.build(mode="replay", epochs=25, cut_depth="scaled").identity()
    assert (identity["plan"], identity["mode"], identity["views"], identity["seed"]) == ("depth", "replay", 25, 0)
    assert (identity["cut_depth"], identity["crop_px"], identity["size_px"]) == ("scaled", [480, 480], [512, 512])
    assert depth.build(k=25).identity() != depth.build(mode="replay", epochs=25).identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "all"}, "expected mode k or replay and recipe vpd, mmseg_512, meta_prompts_nyu, meta_prompts_kitti"),
        ({"k": 1, "recipe": "ours"}, "recipe 'ours'"),
        ({"mode": "k"}, "needs its number, for example k=8"),
        ({"mode": "replay"}, "needs its number, for example epochs=25"),
        ({"mode": "replay", "epochs": 5, "k": 2}, "mode replay does not read k"),
        ({"k": 2, "epochs": 5}, "mode k does not read epochs"),
        ({"k": 1, "crop": 513}, r"crop \[513, 513\] does not fit into size \[512, 512\]"),
        ({"k": 1, "cut_depth": "all"}, "expected one of wrapped, scaled, none"),
        ({"k": 1, "flip": 1.5}, "flip is 1.5; expected a probability"),
        ({"k": 1, "max_depth_m": 0.0}, "expected metres above 0"),
        ({"k": 1, "size": [512]}, "expected two whole numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        depth.build(**options)


def test_published_tiles_are_two_windows_and_their_flips() -> None:
    plan = depth_tiles.build()
    views = plan.views("any", H, W)
    assert plan.views_per_image == len(views) == 4
    windows = [(0, 0, 480, 480), (160, 0, 640, 480)]
    assert [(view.window_px, view.flip) for view in views] == [(w, flip) for flip in (False, True) for w in windows]
    assert {(view.box_px, view.resized_px, view.pad_px) for view in views} == {((0, 0, W, H), (H, W), (32, 32))}
    assert [view.flip for view in depth_tiles.build(flip=False).views("", H, W)] == [False, False]


def test_mmseg_tiles_are_its_three_windows_of_the_resized_picture() -> None:
    plan = depth_tiles.build(short_side=512, stride=128, flip=False)
    views = plan.views("any", H, W)
    assert plan.views_per_image == 3
    assert [view.window_px for view in views] == [(0, 0, 512, 512), (128, 0, 640, 512), (171, 0, 683, 512)]
    assert {view.resized_px for view in views} == {(512, 683)}


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (480, 480), (120, 500), (300, 301)])
def test_tiles_cover_every_pixel_of_any_picture(size: tuple[int, int]) -> None:
    seen = np.zeros(size, bool)
    for view in depth_tiles.build(flip=False).views("", *size):
        x0, y0, x1, y1 = view.window_px
        seen[y0:y1, x0:x1] = True
    assert seen.all()


def test_tiles_refuse_pictures_and_settings_that_do_not_fit() -> None:
    with pytest.raises(Reject, match="windows of a picture of 600 x 900 are 600 pixels wide, views are 512"):
        depth_tiles.build().views("", 600, 900)
    with pytest.raises(ConfigError, match="short_side 640 do not fit into size 512"):
        depth_tiles.build(short_side=640)
    with pytest.raises(ConfigError, match="a stride of 600 leaves gaps"):
        depth_tiles.build(stride=600)
    with pytest.raises(ConfigError, match=r"size is 512\.5"):
        depth_tiles.build(size=512.5)  # pyright: ignore[reportArgumentType]


def test_a_canvas_that_is_no_square_shows_whole_pictures_or_what_fits() -> None:
    plan = depth_tiles.build(size=[512, 640])
    assert (plan.size_px, plan.views_per_image) == ((512, 640), 2)
    whole = plan.views("", 480, 640)
    assert [(view.window_px, view.pad_px, view.flip) for view in whole] == [
        ((0, 0, 640, 480), (32, 0), False),
        ((0, 0, 640, 480), (32, 0), True),
    ]
    assert plan.identity()["size_px"] == [512, 640]
    assert "side_px" not in plan.identity()
    any_size = depth_tiles.build(size=[512, 640], short_side=480, stride=320, flip=False)
    assert [view.window_px for view in any_size.views("", 960, 1280)] == [(0, 0, 640, 480)]
    assert [view.window_px for view in any_size.views("", 1280, 960)] == [(0, 0, 480, 512), (0, 128, 480, 640)]
    wide = [view.window_px[0] for view in any_size.views("", 480, 1300)]
    assert wide == [0, 320, 640, 660]
    square, before = depth_tiles.build(size=[512, 512]), depth_tiles.build(size=512)
    assert square.identity() == before.identity()
    for size, match in (
        ([512], "two whole numbers"),
        ([512, 640, 3], "two whole numbers"),
        ("big", "whole number above 0"),
    ):
        with pytest.raises(ConfigError, match=match):
            depth_tiles.build(size=size)
    with pytest.raises(ConfigError, match="short_side 520 do not fit into size 512"):
        depth_tiles.build(size=[512, 640], short_side=520)
