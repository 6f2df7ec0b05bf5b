"""Crops of persons: 3:4 and enlarged around the box, padded where they leave the picture, and exact about points."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.building.stages import rendered
from pipeline.example import Example
from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import consecutive, exact, persons, view_runs
from shards.errors import ConfigError, SourceError
from shards.geometry.points import to_source, to_view
from shards.geometry.view import View

HEIGHT, WIDTH = 240, 320
INSIDE = (100.0, 60.0, 160.0, 140.0)  # x0, y0, x1, y1; its crop lies inside the picture


@st.composite
def pictures_with_boxes(draw: st.DrawFn) -> tuple[int, int, tuple[float, float, float, float]]:
    height, width = draw(st.integers(8, 700)), draw(st.integers(8, 700))
    x0, y0 = draw(st.floats(0, width - 2)), draw(st.floats(0, height - 2))
    return height, width, (x0, y0, draw(st.floats(x0 + 1, width)), draw(st.floats(y0 + 1, height)))


def corners(view: View) -> np.ndarray:
    """The view's corners (edges, not centres) in pixels of the picture (edges), [2, 2]."""
    height, width = view.size_px
    return to_source(np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]), view) + 0.5


def test_a_box_is_made_3_to_4_and_a_quarter_larger_around_its_middle() -> None:
    (view,) = persons.build().box_views("a", 0, INSIDE, HEIGHT, WIDTH)  # 60 x 80: the shape is right already
    assert view.size_px == (256, 192)
    assert not view.is_padded
    np.testing.assert_allclose(corners(view), [[92, 50], [168, 150]], atol=0.51)  # 37.5 and 50 around (130, 100)
    (tall,) = persons.build().box_views("a", 0, (120, 60, 140, 140), HEIGHT, WIDTH)
    assert tall.box_px == view.box_px
    (wide,) = persons.build().box_views("a", 0, (100, 90, 160, 110), HEIGHT, WIDTH)
    assert wide.box_px == view.box_px


@settings(max_examples=300, deadline=None)
@given(pictures_with_boxes(), st.booleans())
def test_the_middle_of_any_box_is_the_middle_of_its_view(picture: Any, flip: bool) -> None:
    height, width, box = picture
    (view,) = persons.build().box_views("a", 0, box, height, width)
    view = view.mirrored() if flip else view
    x0, y0, x1, y1 = view.box_px
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    scale = np.array([view.resized_px[1] / (x1 - x0), view.resized_px[0] / (y1 - y0)])
    off = np.abs(to_view(middle - 0.5, view) - (95.5, 127.5))
    assert (off <= 2 * scale + 2).all()  # a side of the box and of the padding is a whole pixel


@settings(max_examples=200, deadline=None)
@given(pictures_with_boxes(), st.integers(0, 50), st.lists(st.tuples(*[st.floats(-2000, 2000)] * 2), min_size=1))
def test_points_go_into_any_drawn_view_and_back(picture: Any, seed: int, points: list[tuple[float, float]]) -> None:
    height, width, box = picture
    for view in persons.build(mode="k", k=3, seed=seed).box_views("a", 0, box, height, width):
        there = to_view(np.array(points), view)
        np.testing.assert_allclose(to_source(there, view), points, atol=1e-6)
        mirrored = to_view(np.array(points), view.mirrored())
        np.testing.assert_allclose(mirrored[:, 0], 191 - there[:, 0], atol=1e-6)
        np.testing.assert_allclose(mirrored[:, 1], there[:, 1], atol=1e-6)


def centroid(pixels: np.ndarray) -> np.ndarray:
    """(x, y) of the light in [h, w]."""
    rows, columns = np.indices(pixels.shape)
    return np.array([(columns * pixels).sum(), (rows * pixels).sum()]) / pixels.sum()


BOX = (40, 30, 88, 94)
VIEWS = {
    "resized": View((128, 96), BOX, (128, 96), (0, 0, 96, 128)),
    "shrunk and flipped": View((32, 24), BOX, (32, 24), (0, 0, 24, 32), flip=True),
    "window": View((100, 80), BOX, (128, 96), (8, 16, 88, 116), flip=True),
    "padded before": View((140, 110), BOX, (128, 96), (0, 0, 96, 128), pad_before_px=(9, 10), pad_px=(3, 4)),
    "padded and flipped": View((64, 70), BOX, (64, 48), (0, 0, 48, 64), flip=True, pad_before_px=(0, 22)),
    "enlarged": View((256, 192), BOX, (64, 48), (0, 0, 48, 64), flip=True, enlarged_px=(256, 192)),
    "drawn": persons.build(mode="k", k=4, flip=1.0).box_views("a", 0, BOX, 120, 128)[3],
    "outside": persons.build().box_views("a", 0, (30, 20, 98, 118), 120, 128)[0],
}  # fmt: skip


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("dot", [(64, 62), (57, 50), (70, 75)])
def test_a_bright_dot_is_found_where_the_map_says(view: View, dot: tuple[int, int]) -> None:
    image = np.zeros((120, 128, 3), np.uint8)
    x, y = dot
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    pixels = to_pixels([render(image, view)], view.size_px, pad_before_px=[view.pad_before_px])[0, 0]
    assert pixels.shape == view.size_px
    light = np.where(pixels == 0, 0, pixels + 1)  # padding is 0, black is -1
    np.testing.assert_allclose(centroid(light), to_view(np.array(dot), view), atol=0.05)


def test_a_crop_that_leaves_the_picture_is_padded_on_that_side() -> None:
    (view,) = persons.build().box_views("a", 0, (0, 0, 60, 80), HEIGHT, WIDTH)
    assert min(view.pad_before_px) > 0
    assert view.pad_px == (0, 0)
    assert view.box_px[:2] == (0, 0)
    np.testing.assert_allclose(to_view(np.array([29.5, 39.5]), view), [95.5, 127.5], atol=2)
    mirrored = view.mirrored()
    assert (mirrored.pad_before_px[1], mirrored.pad_px[1]) == (0, view.pad_before_px[1])
    assert mirrored.pad_before_px[0] == view.pad_before_px[0]


def test_drawn_views_vary_within_their_ranges_and_stay_when_views_are_added() -> None:
    plan = persons.build(mode="k", k=400, recolour=0.5)
    views = plan.box_views("a", 0, INSIDE, HEIGHT, WIDTH)
    assert views[:7] == persons.build(mode="k", k=7, recolour=0.5).box_views("a", 0, INSIDE, HEIGHT, WIDTH)
    assert views[0] != plan.box_views("a", 1, INSIDE, HEIGHT, WIDTH)[0]
    assert views[0] != plan.box_views("b", 0, INSIDE, HEIGHT, WIDTH)[0]
    edges = np.array([corners(view) for view in views])  # [V, 2, 2]
    edges.sort(axis=1)  # a mirror image begins at the right
    scales = (edges[:, 1, 1] - edges[:, 0, 1]) / 100
    assert 0.74 < scales.min() < 0.78
    assert 1.22 < scales.max() < 1.26
    offsets = np.abs(edges.mean(axis=1) - (130, 100)) / (75, 100)
    assert 0.13 < offsets.max() < 0.17
    assert 0.6 < (offsets < 0.012).all(axis=1).mean() < 0.8
    assert 0.4 < np.mean([view.flip for view in views]) < 0.6
    assert 0.4 < np.mean([bool(view.colour) for view in views]) < 0.6
    assert all(0.8 <= float(step[1]) <= 1.2 for view in views for step in view.colour)


def test_options_do_not_move_each_others_draws() -> None:
    plain, changed = persons.build(mode="k", k=20), persons.build(mode="k", k=20, flip=0.0, recolour=1.0)
    pairs = zip(*(plan.box_views("a", 0, INSIDE, HEIGHT, WIDTH) for plan in (plain, changed)), strict=True)
    assert all(a.box_px == b.box_px for a, b in pairs)


def test_evaluation_shows_the_crop_and_its_mirror_image() -> None:
    plan = persons.build(flip=True)
    crop, mirrored = plan.box_views("a", 0, INSIDE, HEIGHT, WIDTH)
    assert plan.views_per_image == 2
    assert mirrored == crop.mirrored()
    assert (crop.flip, mirrored.flip) == (False, True)


def test_a_whole_picture_can_stand_for_one_box() -> None:
    (view,) = persons.build().views("photo", HEIGHT, WIDTH)
    assert view.box_px == (0, 0, WIDTH, HEIGHT)
    assert view.size_px == (256, 192)


class Toy:
    """A source of one picture with some boxes."""

    def __init__(self, boxes: tuple[tuple[float, float, float, float], ...]) -> None:
        self.boxes = boxes

    def load(self, split: str, key: str) -> Example:
        return Example(key, np.zeros((HEIGHT, WIDTH, 3), np.uint8), {}, boxes_px=self.boxes)


def test_every_box_is_an_item_that_owns_its_views() -> None:
    boxes = (INSIDE, (0.0, 0.0, 30.0, 40.0), (200.0, 100.0, 320.0, 240.0))
    source: Any = Toy(boxes)
    plan = persons.build(mode="k", k=4)
    sample: Any = rendered(source, "train", plan, "a")
    assert sample.items == ((0, 4), (4, 4), (8, 4))
    assert sample.views == [view for n, box in enumerate(boxes) for view in plan.box_views("a", n, box, HEIGHT, WIDTH)]
    assert [image.shape[:2] for image in sample.images] == [view.content_px for view in sample.views]
    single: Any = rendered(Toy(()), "train", exact.build(64), "a")  # type: ignore[arg-type]
    assert single.items == ((0, 1),)


@pytest.mark.parametrize("counts", [(), (3,), (2, 5, 1)])
def test_runs_follow_each_other(counts: tuple[int, ...]) -> None:
    runs = consecutive(counts)
    assert [count for _, count in runs] == list(counts)
    assert all(first + count == following for (first, count), (following, _) in pairwise(runs))


def test_boxes_and_a_plan_for_whole_images_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match=r"plan exact shows whole images\. Use .*persons"):
        view_runs(exact.build(64), "a", (HEIGHT, WIDTH), [INSIDE])


@pytest.mark.parametrize("box", [(10.0, 10.0, 10.0, 20.0), (-1.0, 0.0, 5.0, 5.0), (0.0, 0.0, WIDTH + 0.1, 5.0)])
def test_a_box_outside_its_image_is_the_sources_mistake(box: Any) -> None:
    with pytest.raises(SourceError, match="empty or not inside the image of 320 x 240"):
        Toy((box,)).load("train", "a")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "tiles"}, "mode is 'tiles'; expected exact or k"),
        ({"mode": "k"}, "k is 0; mode k needs it"),
        ({"k": 3}, "mode exact does not read it"),
        ({"scale": [0.5, 1]}, r"mode exact draws nothing; found .*\['scale'\]"),
        ({"flip": 0.5}, "mode exact draws nothing"),
        ({"enlarge": 0.9}, "at least 1"),
        ({"mode": "k", "k": 2, "scale": [1.2, 0.9]}, "the smallest and the largest"),
        ({"mode": "k", "k": 2, "shift": 2}, "shift is 2; expected a number from 0 to 1"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        persons.build(**options)


def test_every_option_is_part_of_the_identity() -> None:
    options: tuple[dict[str, Any], ...] = (
        {},
        {"seed": 1},
        {"scale": (0.5, 1.5)},
        {"shift": 0.1},
        {"flip": 0.1},
        {"recolour": 0.1},
        {"k": 3},
    )
    drawn = [persons.build(**{"mode": "k", "k": 2, **changes}).identity() for changes in options]
    exact_ones = [persons.build(**changes).identity() for changes in ({}, {"flip": True}, {"enlarge": 1.5})]
    found = drawn + exact_ones
    assert len({str(identity) for identity in found}) == len(found)
