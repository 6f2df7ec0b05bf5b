"""Average precision of keypoints: COCO's numbers, on any number of workers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shards.contract.schema import Record
from tests.vpd.pose_world import EXACT, HEIGHT, WIDTH, Oracle, independent_ap, people, record_of, write_set
from vpd.inference.evaluate import check_count, evaluate
from vpd.tasks.pose import task as pose
from vpd.tasks.pose.metric import KeypointAp, oks


@pytest.fixture
def make_set(tmp_path):
    """Writes and opens a finished set of `count` records."""

    def make(count=5, records=None, **options):
        records = records or [record_of(number, **options) for number in range(count)]
        return write_set(tmp_path / f"set-{len(list(tmp_path.iterdir()))}", records)

    return make


def noise(maps, record, view):
    """Points a few pixels off, and a person of the second picture not found at all."""
    rng = np.random.default_rng(record)
    shifted = np.roll(maps, rng.integers(-3, 4, 2), axis=(1, 2))
    return shifted * np.float32(0.05 if record == 1 else rng.uniform(0.5, 1))


@pytest.mark.parametrize("world", [1, 3])
def test_right_maps_find_every_person_on_any_number_of_workers(world, make_set):
    shards, task = make_set(7), pose.build()
    metrics = [evaluate(Oracle(shards), task, shards, rank=r, world=world, batch_size=4) for r in range(world)]
    joined = task.new_metric().joined([metric.state for metric in metrics])
    check_count(joined, task, shards)
    assert joined.count == 7
    scores = joined.compute()
    assert scores == pytest.approx(dict.fromkeys(scores, 1.0))  # up to a quarter of a map pixel
    assert list(scores) == ["AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR"]


def test_ap_is_that_of_coco_on_the_same_persons(make_set):
    shards, task = make_set(8), pose.build(same_oks=1.0)
    metric = evaluate(Oracle(shards, noise), task, shards, batch_size=16)
    scores = metric.compute()
    assert scores == pytest.approx(independent_ap(shards, metric.results()), abs=1e-12)
    assert 0.1 < scores["AP"] < 0.95
    parts = [evaluate(Oracle(shards, noise), task, shards, rank=r, world=3, batch_size=5) for r in range(3)]
    for order in ((0, 1, 2), (2, 0, 1)):
        joined = task.new_metric().joined([parts[rank].state for rank in order])
        assert joined.compute() == pytest.approx(scores, abs=1e-12)


def test_missed_persons_and_false_ones_lower_the_scores(make_set):
    task = pose.build()
    whole = {"box_xywh_px": [0, 0, WIDTH, HEIGHT], "score": None, "person": None}
    missed = record_of(1)
    views = EXACT.views("", HEIGHT, WIDTH)
    meta = {**missed.values["meta"], "boxes": [whole], "items": [[0, 2]], "views": [v.to_json() for v in views]}
    missed = Record(missed.key, {"latent": missed.values["latent"][:2], "meta": meta})
    shards = make_set(records=[record_of(0), missed])
    metric = evaluate(Oracle(shards), task, shards)
    assert len(metric.results()) == 3  # nothing for the box without a score
    assert metric.compute()["AR"] == pytest.approx(0.5)
    false = make_set(records=[record_of(0), record_of(1, persons=[])])  # three persons where nobody is
    metric = evaluate(Oracle(make_set(2)), task, false)
    assert len(metric.results()) == 6
    assert metric.compute()["AP"] < 0.9
    assert metric.compute()["AR"] == pytest.approx(1)


def test_a_person_found_twice_counts_once():
    right = np.reshape(people(0)[0]["keypoints"], (17, 3))
    metric = KeypointAp()
    near, far = (right + np.array([dx, dx / 80, 0]) for dx in (1, 80))
    metric.update(1, people(0)[:1], [(0.5, near), (0.9, right), (0.7, far)])
    metric.update(2, [], [(0.4, right)])
    assert [(r["image_id"], r["score"]) for r in metric.results()] == [(1, 0.9), (1, 0.7), (2, 0.4)]
    assert len(KeypointAp(1.0, metric.state).results()) == 4
    assert oks(right[:, :2], np.stack([right, near, far])[..., :2]) == pytest.approx([1, 0.95, 0], abs=0.05)


def test_sizes_without_persons_have_no_score_and_nobody_found_is_0():
    metric = KeypointAp()
    assert all(math.isnan(score) for score in metric.compute().values())  # there was nobody to find
    large = people(0)[:1]
    metric.update(1, large, [])
    assert set(metric.compute().values()) == {0.0}
    metric.update(2, large, [(0.9, np.reshape(large[0]["keypoints"], (17, 3)))])
    scores = metric.compute()
    assert scores["AR"] == 0.5
    assert math.isnan(scores["AP(M)"])
