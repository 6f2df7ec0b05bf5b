"""KITTI's frame, enlarged views and numbered windows: places as published, pictures and labels cut alike."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import depth, depth_tiles
from shards.errors import ConfigError, Reject
from shards.geometry.view import View, cut_label

H, W = 375, 1242  # the commonest size; others have 370 to 376 rows and 1224 to 1242 columns
TOP, LEFT = 23, 13
FRAME = (352, 1216)


def many(n: int, **options: Any) -> list[View]:
    return depth.build(mode="k", k=n, **options).views("drive-image_02-0000000005", H, W)


def ramps() -> tuple[np.ndarray, np.ndarray]:
    """(image, label): levels of the image and values of the label both rise from left to right."""
    columns = np.broadcast_to(np.linspace(0, 255, W), (H, W)).astype(np.float32)
    return np.repeat(columns.round().astype(np.uint8)[..., None], 3, axis=2), columns


@pytest.mark.parametrize(("size", "left"), [((370, 1224), 4), ((374, 1238), 11), ((375, 1242), 13), ((376, 1241), 12)])
def test_everything_lies_in_the_frame_at_the_bottom_and_middle(size: tuple[int, int], left: int) -> None:
    top = size[0] - 352
    views = depth.build(mode="k", k=200, recipe="meta_prompts_kitti", cut_depth_probability=1).views("k", *size)
    boxes = np.array([view.box_px for view in views])  # [V, 4]
    assert set(boxes[:, 1]) == {top}
    assert (boxes[:, 2:] - boxes[:, :2] == 352).all()
    assert left <= boxes[:, 0].min() <= left + 30
    assert left + 834 <= boxes[:, 0].max() <= left + 864
    strips = np.array([view.colour[0][1:] for view in views])  # [V, 2], columns of the whole picture
    assert strips[:, 0].min() >= left
    assert strips[:, 1].max() <= left + 1216
    for view in depth_tiles.build(frame=FRAME, windows=16, enlarge=448).views("k", *size):
        assert view.box_px == (left, top, left + 1216, top + 352)


def test_the_published_recipes_enlarge_a_crop_and_keep_its_label() -> None:
    for recipe, size, crop in (("meta_prompts_nyu", 512, 480), ("meta_prompts_kitti", 448, 352)):
        shape = (480, 640) if crop == 480 else (H, W)
        plan = depth.build(mode="replay", epochs=25, recipe=recipe)
        assert plan.size_px == (size, size)
        for view in plan.views("k", *shape):
            assert (view.enlarged_px, view.content_px, view.pad_px) == ((size, size), (crop, crop), (0, 0))
            assert cut_label(np.zeros(shape, np.float32), view).shape == (crop, crop)
            assert View.from_json(view.to_json()) == view


def test_the_nyu_recipe_draws_what_vpd_draws() -> None:
    ours, vpd = (
        depth.build(mode="k", k=50, recipe=name).views("kitchen", 480, 640) for name in ("meta_prompts_nyu", "vpd")
    )
    assert ours == [replace(view, enlarged_px=(512, 512), pad_px=(0, 0)) for view in vpd]
    tiles = depth_tiles.build(enlarge=512).views("kitchen", 480, 640)
    padded = depth_tiles.build().views("kitchen", 480, 640)
    assert tiles == [replace(view, enlarged_px=(512, 512), pad_px=(0, 0)) for view in padded]


def test_enlarged_pictures_and_labels_show_the_same_places() -> None:
    image, label = ramps()
    plans = many(20, recipe="meta_prompts_kitti", recolour=0.0, cut_depth="none")
    for view in plans + depth_tiles.build(frame=FRAME, windows=16, enlarge=448).views("", H, W):
        shown = render(image, view)
        assert shown.shape == (448, 448, 3)
        assert to_pixels([shown], view.size_px).shape == (1, 3, 448, 448)
        cut = cut_label(label, view)
        assert cut.shape == (352, 352)
        columns = (np.arange(448) + 0.5) * 352 / 448 - 0.5
        expected = np.interp(columns, np.arange(352), cut[0])
        assert np.abs(shown[0, :, 0] - expected).max() < 1.2  # half a level, and rounding before and after


def test_strips_are_drawn_from_the_integers_of_the_png_as_published() -> None:
    stored = np.random.default_rng(0).integers(0, 80 * 256, (H, W), np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG")
    image = np.zeros((H, W, 3), np.uint8)
    options = {
        "recipe": "meta_prompts_kitti",
        "recolour": 0.0,
        "cut_depth_probability": 1.0,
        "crop": FRAME,
        "flip": 0.0,
    }
    for name, levels in (("wrapped", stored % 256), ("scaled", np.rint(stored * (255 / 256 / 80)))):
        for view in many(5, cut_depth=name, enlarge=FRAME, **options):
            shown = render(image, view, {"depth": buffer.getvalue()})
            _, x0, x1, *numbers = view.colour[0]
            assert numbers == ([] if name == "wrapped" else [80.0, 256.0])
            first, end = int(x0) - LEFT, int(x1) - LEFT
            np.testing.assert_array_equal(shown[:, first:end, 1], levels[TOP:, int(x0) : int(x1)])
            assert not shown[:, :first].any()
            assert not shown[:, end:].any()


def test_published_windows_are_57_columns_apart_and_miss_the_last_9() -> None:
    plan = depth_tiles.build(frame=FRAME, windows=16, spacing="published", enlarge=448)
    views = plan.views("", H, W)
    assert plan.views_per_image == len(views) == 32
    assert [view.flip for view in views] == [False] * 16 + [True] * 16
    for half in (views[:16], views[16:]):
        assert [view.window_px for view in half] == [(57 * i, 0, 57 * i + 352, 352) for i in range(16)]
    assert not covered(views)[1207:].any()
    assert covered(views)[:1207].all()


def test_even_windows_cover_every_column_of_the_frame() -> None:
    views = depth_tiles.build(frame=FRAME, windows=16, enlarge=448).views("", H, W)
    starts = [view.window_px[0] for view in views[:16]]
    assert (starts[0], starts[-1]) == (0, 864)
    assert set(np.diff(starts)) == {57, 58}
    assert np.abs(np.array(starts) - np.linspace(0, 864, 16)).max() <= 0.5
    assert covered(views).all()


@pytest.mark.parametrize("windows", [4, 5, 7, 16, 31])
@pytest.mark.parametrize("size", [(352, 1216), (1216, 352), (120, 333)])
def test_any_number_of_even_windows_covers_any_picture(windows: int, size: tuple[int, int]) -> None:
    seen = np.zeros(size, bool)
    views = depth_tiles.build(windows=windows, flip=False).views("", *size)
    assert len(views) == windows
    for view in views:
        x0, y0, x1, y1 = view.window_px
        seen[y0:y1, x0:x1] = True
    assert seen.all()


def covered(views: list[View]) -> np.ndarray:
    seen = np.zeros(FRAME[1], bool)
    for view in views:
        seen[view.window_px[0] : view.window_px[2]] = True
    return seen


def test_published_windows_of_nyuv2_are_those_of_either_rule() -> None:
    """480 x 640 divides evenly, so the two rules agree with each other, and with the stride."""
    expected = depth_tiles.build().views("", 480, 640)
    for spacing in ("even", "published"):
        assert depth_tiles.build(windows=2, spacing=spacing).views("", 480, 640) == expected
        three = depth_tiles.build(windows=3, spacing=spacing, flip=False).views("", 480, 640)
        assert [view.window_px[0] for view in three] == [0, 80, 160]


def test_a_square_picture_has_one_window() -> None:
    assert len(depth_tiles.build(windows=3, flip=False).views("", 300, 300)) == 1


def test_pictures_that_are_too_small_are_rejects() -> None:
    with pytest.raises(Reject, match="picture of 340 x 1242 is smaller than the frame of 352 x 1216"):
        depth.build(k=1, recipe="meta_prompts_kitti").views("", 340, W)
    with pytest.raises(Reject, match="picture of 375 x 1200 is smaller than the frame"):
        depth_tiles.build(frame=FRAME, enlarge=448).views("", 375, 1200)
    with pytest.raises(Reject, match=r"smaller than the crop .*cannot be padded"):
        depth.build(k=1, recipe="meta_prompts_nyu").views("", 400, 640)
    with pytest.raises(Reject, match=r"3 windows of 300 pixels leave gaps along 1000 pixels; .* at least 4"):
        depth_tiles.build(windows=3).views("", 300, 1000)


def test_identities_name_the_later_options_only_where_they_are_used() -> None:
    plain = {"plan": "depth", "mode": "k", "views": 1, "seed": 0, "size_px": [512, 512], "crop_px": [480, 480]}
    plain |= {"base_px": None, "ratio": [1.0, 1.0], "flip": 0.5, "recolour": 0.5, "cut_depth": "wrapped"}
    plain |= {"cut_depth_probability": 0.25, "max_depth_m": 10.0}
    assert depth.build(k=1).identity() == plain, "sets built before these options existed keep their fingerprint"
    assert depth.build(k=1, recipe="meta_prompts_nyu").identity() == plain | {"enlarged": True}
    kitti = depth.build(k=1, recipe="meta_prompts_kitti").identity()
    changed = {"size_px": [448, 448], "crop_px": [352, 352], "max_depth_m": 80.0}
    assert kitti == plain | changed | {"frame_px": [352, 1216], "enlarged": True, "units_per_metre": 256.0}
    tiles = {"plan": "depth_tiles", "short_side": None, "stride": None, "flip": True}
    assert depth_tiles.build().identity() == tiles | {"side_px": 512}
    found = depth_tiles.build(frame=FRAME, windows=16, enlarge=448).identity()
    assert found == tiles | {"enlarged_px": [448, 448], "frame_px": [352, 1216], "windows": 16, "spacing": "even"}


def test_a_recipe_can_be_made_small() -> None:
    (view,) = many(1, recipe="meta_prompts_kitti", frame=[64, 256], crop=64, size=128)
    assert (view.box_px[1], view.content_px, view.enlarged_px) == (H - 64, (64, 64), (128, 128))
    (view,) = many(1, recipe="meta_prompts_kitti", size=64)
    assert (view.content_px, view.enlarged_px, view.size_px) == ((352, 352), (64, 64), (64, 64))
    (view,) = many(1, crop=[64, 96], enlarge=[128, 192])
    assert (view.content_px, view.enlarged_px) == ((64, 96), (128, 192))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 512, "enlarge": 512}, "size is 512 and enlarge 512; a crop is padded, or enlarged"),
        ({"recipe": "meta_prompts_kitti", "crop": 400}, r"crop \[400, 400\] does not fit into the frame \[352, 1216\]"),
        ({"frame": [352]}, r"frame is \[352\], expected two whole numbers"),
        ({"enlarge": 0}, r"enlarge is \[0, 0\], expected two whole numbers"),
        ({"units_per_metre": 0.0}, "units_per_metre 0.0 above 0"),
    ],
)
def test_training_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        depth.build(k=1, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 512, "enlarge": 512}, "a window is padded, or enlarged"),
        ({"windows": 4, "stride": 100}, "windows is 4 and stride 100; set one of them"),
        ({"windows": 0}, "windows is 0, expected a whole number above 0"),
        ({"spacing": "even"}, "spacing is 'even' of windows None; expected even or published, with a number"),
        ({"windows": 4, "spacing": "random"}, "spacing is 'random'"),
        ({"frame": FRAME, "windows": 3}, "3 windows of 352 pixels leave gaps along 1216 pixels; .* at least 4"),
        ({"frame": FRAME, "windows": 1}, "1 windows of 352 pixels leave gaps"),
        ({"frame": FRAME, "size": 320}, "352 pixels wide, views are 320"),
        ({"frame": FRAME, "stride": 400}, "a stride of 400 leaves gaps"),
    ],
)
def test_tile_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        depth_tiles.build(**options)
