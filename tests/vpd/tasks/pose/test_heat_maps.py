"""Heat maps of keypoints: targets, reading them back, mirror images, and the head that makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec, Level
from vpd.heads.heat_maps import HeatMaps
from vpd.tasks.pose.heat_maps import MIRROR, map_size, read_points, target_maps, unflipped
from vpd.tasks.pose.skeleton import BONES, KEYPOINTS, drawn

VIEW = (256, 192)
SPEC = FeatureSpec(tuple(Level(f"f{i}", c, 8 << i) for i, c in enumerate((12, 20, 24, 24))), 17, 32)


def one_point(x: float, y: float, sigma: float = 2.0) -> tuple[torch.Tensor, float]:
    maps, weights = target_maps(np.array([[x, y]]), np.array([True]), VIEW, sigma)
    return torch.from_numpy(maps), float(weights[0])


def test_maps_have_a_quarter_of_the_view_and_a_peak_of_one_at_the_point() -> None:
    maps, weight = one_point(4 * 20 + 1.5, 4 * 30 + 1.5)  # the centre of map pixel (20, 30)
    assert maps.shape == (1, 64, 48)
    assert maps.dtype == torch.float32
    assert weight == 1
    assert maps[0, 30, 20] == 1
    beside = [maps[0, 30, 22], maps[0, 28, 20], maps[0, 30, 18]]
    np.testing.assert_allclose(beside, np.exp(-0.5), rtol=1e-6)  # two pixels off, sigma 2


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 191), st.floats(0, 255))
def test_a_point_is_read_back_within_a_pixel_of_the_view(x: float, y: float) -> None:
    maps, _ = one_point(x, y)
    ((found_x, found_y),), (score,) = read_points(maps, VIEW)
    # A quarter of a map pixel is a pixel of the view; at the border nothing corrects the half pixel.
    limit_x = 1.01 if 8 <= x <= 183 else 2.01
    limit_y = 1.01 if 8 <= y <= 247 else 2.01
    assert abs(found_x - x) <= limit_x
    assert abs(found_y - y) <= limit_y
    assert 0.93 < score <= 1


def test_points_that_are_not_labelled_or_outside_have_no_map_and_no_weight() -> None:
    points = np.array([[50.0, 50.0], [50.0, 50.0], [-3.0, 50.0], [50.0, 258.0], [191.0, 0.0]])
    maps, weights = target_maps(points, np.array([True, False, True, True, True]), VIEW, 2.0)
    assert weights.tolist() == [1, 0, 0, 0, 1]
    assert [bool(m.any()) for m in maps] == [True, False, False, False, True]


def test_the_correction_goes_a_quarter_towards_the_higher_neighbour_and_not_past_an_edge() -> None:
    maps = torch.zeros(3, 8, 8)
    maps[0, 3, 4], maps[0, 3, 5], maps[0, 2, 4] = 1.0, 0.5, 0.2
    maps[1, 5, 2] = 1.0  # equal neighbours: no correction
    maps[2, 0, 7], maps[2, 1, 7] = 0.7, 0.6  # in a corner
    points, scores = read_points(maps, (8, 8))
    np.testing.assert_allclose(points, [[4.25, 2.75], [2, 5], [7, 0]])
    np.testing.assert_allclose(scores, [1, 1, 0.7])


def test_maps_of_a_mirror_image_come_back_in_place_and_on_the_right_side() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 180, (KEYPOINTS, 2))
    seen = np.ones(KEYPOINTS, bool)
    upright, _ = target_maps(points, seen, VIEW, 2.0)
    mirrored_points = np.column_stack([VIEW[1] - 1 - points[:, 0], points[:, 1]])[MIRROR]
    mirrored, _ = target_maps(mirrored_points, seen, VIEW, 2.0)
    np.testing.assert_allclose(unflipped(torch.from_numpy(mirrored)), upright, atol=1e-6)
    assert MIRROR[:5] == [0, 2, 1, 4, 3]
    assert [MIRROR[i] for i in MIRROR] == list(range(17))


def test_every_bone_stays_a_bone_in_the_mirror() -> None:
    bones = {frozenset(bone) for bone in BONES}
    assert len(bones) == 19
    assert {frozenset(MIRROR[i] for i in bone) for bone in bones} == bones


def test_a_drawing_changes_only_what_scores_enough() -> None:
    image = np.full((100, 80, 3), 127, np.uint8)
    person = np.column_stack([np.linspace(10, 70, 17), np.linspace(10, 90, 17), np.full(17, 0.9)])
    assert (drawn(image, person[None], 0.2) != image).any(axis=2).sum() > 100
    person[:, 2] = 0.1
    np.testing.assert_array_equal(drawn(image, person[None], 0.2), image)
    np.testing.assert_array_equal(drawn(image, np.zeros((0, 17, 3)), 0.2), image)


def features(batch: int, height: int = 8, width: int = 6) -> list[torch.Tensor]:
    torch.manual_seed(0)
    sides = [(-(-height // 2**i), -(-width // 2**i)) for i in range(4)]
    return [torch.randn(batch, level.width, *side) for level, side in zip(SPEC.levels, sides, strict=True)]


def test_the_head_compares_every_place_with_the_prompt_of_its_keypoint() -> None:
    head, context = HeatMaps(SPEC, width=16).eval(), torch.randn(1, 17, 32)
    maps = head(features(3), None, context)
    assert maps.shape == (3, 17, 16, 12)
    assert maps.dtype == torch.float32
    assert head(features(3), (30, 20), context).shape == (3, 17, 30, 20)
    changed = context.clone()
    changed[0, 5] += 1
    apart = (head(features(3), None, changed) - maps).abs().amax(dim=(0, 2, 3))
    assert (apart > 0).nonzero().flatten().tolist() == [5]


def test_every_level_and_parameter_of_the_head_takes_part() -> None:
    head, levels = HeatMaps(SPEC, width=16), [level.requires_grad_() for level in features(2)]
    head(levels, None, torch.randn(1, 17, 32)).square().sum().backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in levels)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize(
    ("options", "match"),
    [({"keypoints": 14}, r"Set model\.prompts\.count=14"), ({"width": 20}, "must be multiples of 16")],
)
def test_a_head_that_does_not_fit_the_prompts_is_refused(options: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        HeatMaps(SPEC, **options)


def test_the_size_of_maps_is_a_quarter() -> None:
    assert map_size(VIEW) == (64, 48)
