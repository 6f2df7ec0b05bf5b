"""Scenes agree with themselves: picture, depth, labels and masks show the same things, and phrases pick one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demo.phrases import VOCABULARY, phrases_for, referents
from demo.world import COLOURS, LABELS, Scene, Thing, draw_scene, render

SCENES = [draw_scene(np.random.default_rng(seed)) for seed in range(30)]


def room(*things: Thing, pole_px: tuple[float, float] | None = None) -> Scene:
    return Scene(100, 200, 140, 80, 60.0, 35.0, 5.0, things, pole_px, (), 0)


def thing(colour: str, shape: str, x: float, y: float = 50.0, size: str = "small") -> Thing:
    return Thing(shape, colour, size, x, y, 10.0, 3.0)


def test_the_same_random_stream_gives_the_same_scene_and_picture() -> None:
    first, second = (draw_scene(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert np.array_equal(render(first).image, render(second).image)


def test_scenes_differ_in_size_and_in_the_number_of_objects() -> None:
    assert len({(scene.height, scene.width) for scene in SCENES}) > 3
    assert {len(scene.things) for scene in SCENES} == {2, 3, 4}


def test_maps_have_the_size_and_type_of_their_contract() -> None:
    for scene in SCENES:
        drawn = render(scene)
        size = (scene.height, scene.width)
        assert drawn.image.shape == (*size, 3)
        assert drawn.masks.shape == (len(scene.things), *size)
        assert (drawn.image.dtype, drawn.depth_m.dtype, drawn.labels.dtype) == (np.uint8, np.float32, np.uint8)
        assert drawn.depth_m.shape == drawn.labels.shape == size


def test_inside_its_mask_an_object_has_its_colour_label_and_distance() -> None:
    for scene in SCENES:
        drawn = render(scene)
        assert (drawn.masks.sum(axis=0) <= 1).all()
        for mask, own in zip(drawn.masks, scene.things, strict=True):
            assert mask.sum() > 30
            assert (drawn.labels[mask] == LABELS.index(own.shape)).all()
            assert np.allclose(drawn.depth_m[mask], own.distance_m)
            assert np.abs(drawn.image[mask].mean(axis=0) - COLOURS[own.colour]).max() < 15


def test_nothing_stands_behind_the_wall_and_the_floor_comes_nearer() -> None:
    for scene in SCENES:
        drawn = render(scene)
        assert drawn.depth_m.min() > 0
        assert drawn.depth_m.max() <= np.float32(scene.wall_m)
        assert drawn.labels.min() >= 1
        floor = np.where(drawn.labels == LABELS.index("floor"), drawn.depth_m, np.nan)
        by_row = floor[np.isfinite(floor).any(axis=1)]
        assert (np.diff(np.nanmax(by_row, axis=1)) < 0).all()


def test_what_reaches_the_floor_stands_on_it_and_the_rest_hangs_before_the_wall() -> None:
    standing = 0
    for scene in SCENES:
        bare = render(replace(scene, things=(), pole_px=None)).depth_m[:, 0]  # [H]
        for own in scene.things:
            foot = own.y + own.radius
            if foot > scene.floor_row:
                standing += 1
                row = int(foot)  # whose centre is half a row above or below the foot
                assert bare[min(row + 1, scene.height - 1)] <= own.distance_m <= bare[row - 1]
            else:
                assert 0.8 * scene.wall_m < own.distance_m < scene.wall_m
    assert standing > 10


def test_a_pole_cuts_the_outline_in_two_and_stands_nearer() -> None:
    own = thing("red", "circle", 100)
    scene = room(own, pole_px=(97, 103))
    left, right = scene.parts(own)
    assert max(x for x, _ in left) == 97
    assert min(x for x, _ in right) == 103
    drawn = render(scene)
    assert not drawn.masks[0, :, 98:102].any()
    assert drawn.depth_m[50, 100] < own.distance_m


def test_an_object_beside_the_pole_keeps_one_outline() -> None:
    own = thing("red", "cross", 30)
    assert room(own, pole_px=(97, 103)).parts(own) == [own.outline()]


def test_referents_are_all_objects_a_phrase_fits() -> None:
    scene = room(thing("red", "circle", 20), thing("red", "circle", 180), thing("red", "square", 100, size="big"))
    assert referents("the red circle", scene) == [0, 1]
    assert referents("red circle on the left", scene) == [0]
    assert referents("RIGHT red thing", scene) == [1]
    assert referents("the big one", scene) == [2]
    assert referents("blue square", scene) == []


def test_the_middle_is_neither_left_nor_right() -> None:
    scene = room(thing("red", "square", 100))
    assert referents("left square", scene) == referents("right square", scene) == []


def test_a_word_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown words"):
        referents("the orange circle", SCENES[0])


def test_every_phrase_fits_its_object_and_no_other() -> None:
    found: set[str] = set()
    for scene in SCENES:
        for index in range(len(scene.things)):
            phrases = phrases_for(index, scene, np.random.default_rng(index))
            assert len(phrases) == len(set(phrases)) <= 3
            for phrase in phrases:
                assert referents(phrase, scene) == [index]
                found |= set(phrase.split())
    assert found <= set(VOCABULARY)
    assert {"left", "right", "top", "bottom", "small", "big"} <= found
