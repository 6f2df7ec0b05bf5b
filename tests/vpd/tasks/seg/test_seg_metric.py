"""Segmentation scores against a plain computation, however the data is split."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shards.errors import SchemaMismatch
from tests.waiting import NothingWaits
from vpd.tasks.seg.metric import Confusion, class_table, pair_counts

CLASSES, IGNORE = 7, 255


def pictures(seed, n=9):
    """Random labels and predictions of several sizes. Class 5 is never a label, class 6 occurs nowhere."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        size = tuple(rng.integers(3, 30, 2))
        label = rng.choice([0, 1, 2, 3, 4, IGNORE], size, p=[0.5, 0.2, 0.1, 0.05, 0.05, 0.1]).astype(np.uint8)
        noise = rng.integers(0, 6, size)
        found.append((np.where(rng.random(size) < 0.6, label % IGNORE, noise), label))
    return found


def plain_scores(data):
    """The published definition, class by class."""
    prediction = np.concatenate([p.ravel() for p, _ in data])
    label = np.concatenate([y.ravel() for _, y in data])
    prediction, label = prediction[label != IGNORE], label[label != IGNORE]
    iou, accuracy = [], []
    for k in range(CLASSES):
        both, either = np.sum((prediction == k) & (label == k)), np.sum((prediction == k) | (label == k))
        iou.append(both / either if either else math.nan)
        accuracy.append(both / np.sum(label == k) if np.any(label == k) else math.nan)
    return {"mIoU": np.nanmean(iou), "aAcc": np.mean(prediction == label), "mAcc": np.nanmean(accuracy)}, iou, accuracy


def counted(data):
    metric = Confusion(CLASSES)
    for prediction, label in data:
        metric.update(torch.from_numpy(prediction), torch.from_numpy(label))
    return metric


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_a_plain_computation(seed):
    data = pictures(seed)
    scores, iou, accuracy = plain_scores(data)
    metric = counted(data)
    assert metric.count == len(data)
    assert metric.compute() == pytest.approx(scores, rel=1e-12)
    table = metric.per_class()
    assert [s.iou for s in table] == pytest.approx(iou, rel=1e-12, nan_ok=True)
    assert [s.accuracy for s in table] == pytest.approx(accuracy, rel=1e-12, nan_ok=True)
    assert math.isnan(table[6].iou)
    assert table[5].iou == 0
    assert math.isnan(table[5].accuracy)  # predicted, never a label


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_merging_any_split_of_the_data_equals_one_pass(parts):
    data = pictures(11)
    whole = counted(data)
    merged = Confusion(CLASSES).joined([counted(data[part::parts]).state for part in range(parts)])
    assert torch.equal(merged.state, whole.state)
    assert merged.compute() == whole.compute()
    again = whole.joined([whole.state])
    again.update(torch.zeros(2, 2, dtype=torch.long), torch.zeros(2, 2, dtype=torch.uint8))
    assert again.count == whole.count + 1  # a copy, not the same sums


def test_nothing_counted_has_no_score_and_ignored_pixels_count_nowhere():
    metric = Confusion(3)
    none = pytest.approx({"mIoU": math.nan, "aAcc": math.nan, "mAcc": math.nan}, nan_ok=True)
    assert metric.compute() == none
    metric.update(torch.ones(4, 4, dtype=torch.long), torch.full((4, 4), IGNORE, dtype=torch.uint8))
    assert metric.compute() == none
    assert metric.count == 1


def test_the_matrix_has_labels_down_and_predictions_across():
    metric = Confusion(3)
    metric.update(torch.tensor([[0, 2, 2]]), torch.tensor([[0, 0, 1]], dtype=torch.uint8))
    assert metric.matrix.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    (wall, *_, sky) = metric.per_class(["wall", "tree", "sky"])
    assert (wall.name, wall.iou, wall.label_pixels, wall.predicted_pixels) == ("wall", 0.5, 2, 1)
    assert (sky.iou, sky.predicted_pixels) == (0.0, 2)


def test_the_table_shows_undefined_scores_as_a_dash():
    metric = Confusion(2)
    metric.update(torch.tensor([[0, 0]]), torch.tensor([[0, 0]], dtype=torch.uint8))
    lines = class_table(metric.per_class(["wall", "a long name"])).splitlines()
    assert lines[1].split() == ["wall", "1.0000", "1.0000", "2", "2"]
    assert lines[2].split()[-4:] == ["-", "-", "0", "0"]
    assert len({len(line) for line in lines}) == 1


def test_labels_the_task_does_not_know_and_other_sizes_are_refused():
    metric = Confusion(3)
    with pytest.raises(SchemaMismatch, match="a label holds class 3; the task has the classes 0 to 2"):
        metric.update(torch.zeros(1, 1, dtype=torch.long), torch.tensor([[3]], dtype=torch.uint8))
    with pytest.raises(SchemaMismatch, match=r"a prediction of \[1, 2\] for a label of \[2, 1\]"):
        metric.update(torch.zeros(1, 2, dtype=torch.long), torch.zeros(2, 1, dtype=torch.uint8))


def test_counting_waits_for_nothing_and_equals_a_count_of_the_labelled_pixels() -> None:
    prediction, label = (torch.from_numpy(values) for values in pictures(0)[0])
    with NothingWaits():
        found = pair_counts(prediction, label, CLASSES, IGNORE)
    pairs = label[label != IGNORE].long() * CLASSES + prediction[label != IGNORE]
    assert found.tolist() == torch.bincount(pairs, minlength=CLASSES**2).tolist()
