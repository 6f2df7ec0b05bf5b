"""Depth scores: against the official ones, and as sums that merge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shards.errors import ConfigError, SchemaMismatch
from vpd.tasks.depth.metric import NAMES, DepthMetric, counted_pixels, crop_slices

GARG, EIGEN = (0.40810811, 0.99189189, 0.03594771, 0.96405229), (0.3324324, 0.91351351, 0.03594771, 0.96405229)


def frame(golden):
    return golden["nyu.pred_mm"].float() / 1000, golden["nyu.gt_mm"].float() / 1000


@pytest.mark.parametrize(
    ("facts", "crop", "max_depth_m"),
    [
        ("nyu", "nyu", 10.0),
        ("kitti_garg_crop_on_nyu_arrays", "garg", 80.0),
        ("kitti_eigen_crop_on_nyu_arrays", "eigen", 80.0),
    ],
)
def test_scores_equal_the_official_ones(facts, crop, max_depth_m, golden_depth_metrics):
    pred, target = frame(golden_depth_metrics)
    expected = golden_depth_metrics.facts[facts]
    assert counted_pixels(target, 1e-3, max_depth_m, crop).sum() == expected["n_valid"]
    metric = DepthMetric(1e-3, max_depth_m, crop)
    metric.update(pred, target)
    assert metric.compute() == pytest.approx(expected["metrics"], rel=1e-5)
    assert list(metric.compute()) == list(NAMES)


def test_inf_and_nan_count_as_the_limits_as_published(golden_depth_metrics):
    pred, target = frame(golden_depth_metrics)
    pred[200, 200], pred[201, 201] = math.inf, math.nan
    metric = DepthMetric(1e-3, 10.0, "nyu")
    metric.update(pred, target)
    assert metric.compute() == pytest.approx(golden_depth_metrics.facts["nyu_inf_nan"]["metrics"], rel=1e-5)
    assert pred[200, 200].isinf()  # the caller's prediction is left alone


def test_a_picture_is_counted_without_reading_its_prediction(golden_depth_metrics):
    """On the meta device every reading raises, as it would make a GPU's host wait."""
    pred, target = frame(golden_depth_metrics)
    state = torch.zeros(DepthMetric.SIZE, dtype=torch.float64, device="meta")
    DepthMetric(1e-3, 10.0, "nyu", state).update(pred.to("meta"), target)
    with pytest.raises((NotImplementedError, RuntimeError)):  # as it does for a target that lies there, too
        DepthMetric(1e-3, 10.0, "nyu", state).update(pred.to("meta"), target.to("meta"))


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match=r"\[3, 4\] for a depth map of \[4, 3\]"):
        DepthMetric(1e-3, 10.0).update(torch.ones(3, 4), torch.ones(4, 3))


@pytest.mark.parametrize(
    ("crop", "size", "rows", "columns"),
    [
        ("none", (7, 9), (0, 7), (0, 9)),
        ("nyu", (480, 640), (45, 471), (41, 601)),
        ("garg", (352, 1216), (143, 349), (43, 1172)),
        ("eigen", (352, 1216), (117, 321), (43, 1172)),
        ("nyu", (240, 320), (22, 235), (20, 300)),
    ],
)
def test_crops_are_the_published_boxes_and_scale_with_the_picture(crop, size, rows, columns):
    assert crop_slices(crop, *size) == (slice(*rows), slice(*columns))


@pytest.mark.parametrize(("crop", "decimals"), [("garg", GARG), ("eigen", EIGEN)])
def test_kittis_crops_are_the_published_integers_at_every_height_and_width(crop, decimals):
    """The official code multiplies four decimals in double precision and casts to int32."""
    for side in range(1, 2049):
        top, bottom, left, right = (np.array(decimals) * side).astype(np.int32)
        assert crop_slices(crop, side, side) == (slice(top, bottom), slice(left, right)), side


def test_the_nyu_crop_is_exact_wherever_the_picture_is_a_multiple_of_its_own():
    for times in range(1, 9):
        expected = (slice(45 * times, 471 * times), slice(41 * times, 601 * times))
        assert crop_slices("nyu", 480 * times, 640 * times) == expected


def test_the_limits_are_exclusive():
    target = torch.tensor([[0.0, 1e-3, 0.0011, 9.999, 10.0, 11.0]])
    assert counted_pixels(target, 1e-3, 10.0, "none").tolist() == [[False, False, True, True, False, False]]


def test_an_unknown_crop_lists_the_choices():
    with pytest.raises(ConfigError, match="'kb' is unknown; choose one of none, nyu, garg, eigen"):
        crop_slices("kb", 10, 10)


def by_hand(pred, target):
    """Rows of plain Python floats, a pixel at a time."""
    n = len(pred)
    logs = [math.log(p) - math.log(t) for p, t in zip(pred, target, strict=True)]
    pairs = list(zip(pred, target, strict=True))
    mean = sum(logs) / n
    return [
        *(sum(max(p / t, t / p) < 1.25**k for p, t in pairs) / n for k in (1, 2, 3)),
        sum(abs(p - t) / t for p, t in pairs) / n,
        sum((p - t) ** 2 / t for p, t in pairs) / n,
        math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n),
        math.sqrt(sum(d * d for d in logs) / n),
        sum(abs(math.log10(p / t)) for p, t in pairs) / n,
        math.sqrt(sum(d * d for d in logs) / n - 0.5 * mean * mean),
    ]


def pictures(count):
    torch.manual_seed(0)
    made = []
    for size in ((5, 6), (3, 9), (8, 4))[:count]:
        target = torch.rand(size) * 9 + 0.5
        target[torch.rand(size) < 0.4] = 0
        made.append((torch.rand(size) * 9 + 0.5, target))
    return made


def test_pictures_count_equally_whatever_their_size():
    metric, rows = DepthMetric(1e-3, 10.0), []
    for pred, target in pictures(3):
        metric.update(pred, target)
        kept = target > 0
        rows.append(by_hand(pred[kept].tolist(), target[kept].tolist()))
    expected = {name: sum(column) / 3 for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)}
    assert metric.compute() == pytest.approx(expected, rel=1e-6)
    assert metric.count == 3


def test_a_picture_without_measurement_counts_and_does_not_move_the_means():
    metric, with_blank = DepthMetric(1e-3, 10.0), DepthMetric(1e-3, 10.0)
    for pred, target in pictures(2):
        metric.update(pred, target)
        with_blank.update(pred, target)
    with_blank.update(torch.ones(4, 4), torch.zeros(4, 4))
    assert with_blank.compute() == metric.compute()
    assert (metric.count, with_blank.count) == (2, 3)


def test_nothing_counted_is_no_score_and_never_the_error_of_a_perfect_model():
    assert all(math.isnan(score) for score in DepthMetric(1e-3, 10.0).compute().values())


def test_states_of_two_workers_add_up_to_one_pass():
    whole, parts = DepthMetric(1e-3, 10.0, "nyu"), [DepthMetric(1e-3, 10.0, "nyu") for _ in range(2)]
    for number, picture in enumerate(pictures(3)):
        whole.update(*picture)
        parts[number % 2].update(*picture)
    added = parts[0].joined([part.state for part in parts])
    assert added.compute() == pytest.approx(whole.compute(), rel=1e-12)
    assert added.crop == "nyu"


def test_a_model_that_predicts_nothing_finite_has_no_score() -> None:
    """At the lower limit everywhere its error would be 1.999 here: a score like any other."""
    metric, target = DepthMetric(1e-3, 10.0), torch.full((8, 8), 2.0)
    metric.update(torch.full((8, 8), math.nan), target)
    assert all(math.isnan(score) for score in metric.compute().values())
    metric.update(target, target)
    assert math.isnan(metric.compute()["rmse"])
    assert metric.count == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_sums_of_the_host_take_the_scores_of_a_gpu() -> None:
    host, device = DepthMetric(1e-3, 10.0), DepthMetric(1e-3, 10.0)
    pred_m, target_m = torch.full((4, 5), 3.0), torch.full((4, 5), 2.0)
    host.update(pred_m, target_m)
    device.update(pred_m.cuda(), target_m)
    assert device.compute() == pytest.approx(host.compute())
