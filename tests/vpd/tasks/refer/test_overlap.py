"""Mask overlap: against the official scores, and as sums that merge."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vpd.tasks.refer.overlap import MaskOverlap, mask_overlap


def scores_of(pairs):
    metric = MaskOverlap()
    metric.update(torch.tensor([i for i, _ in pairs]), torch.tensor([u for _, u in pairs]))
    return metric


def test_scores_equal_the_official_ones(golden_refer):
    metric, ious = MaskOverlap(), []
    for i, target in enumerate(golden_refer["metric.targets"]):
        inter, union = mask_overlap(golden_refer[f"metric.preds.{i}"].bool(), target.bool())
        metric.update(inter, union)
        ious.append([a / b if b else 0.0 for a, b in zip(inter.tolist(), union.tolist(), strict=True)])
    facts = golden_refer.facts["metrics"]
    assert ious == facts["per_sentence_iou"]
    found = metric.compute()
    # The return value is exact; the prints are rounded to two digits.
    assert 100 * found["oIoU"] == pytest.approx(facts["train_evaluate_returns"]["overall_iou"], rel=1e-12)
    printed = [float(re.search(r"[\d.]+$", line)[0]) for line in facts["test_evaluate_prints"]]
    ours = [found[name] for name in ("mIoU", "P@0.5", "P@0.6", "P@0.7", "P@0.8", "P@0.9", "oIoU")]
    assert [round(100 * value, 2) for value in ours] == printed
    assert metric.count == 9


def test_a_threshold_is_met_by_an_equal_iou():
    found = scores_of([(5, 10), (6, 10), (7, 10), (8, 10), (9, 10), (899, 1000)]).compute()
    counts = [round(found[f"P@{t}"] * 6) for t in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert counts == [6, 5, 4, 3, 1]


def test_an_empty_union_counts_as_a_sample_of_iou_0():
    found = scores_of([(0, 0), (4, 4)]).compute()
    assert (found["mIoU"], found["oIoU"], found["P@0.5"]) == (0.5, 1.0, 0.5)


def test_a_score_over_nothing_is_not_a_number():
    found = MaskOverlap().compute()
    assert list(found) == list(scores_of([(1, 2)]).compute())
    assert all(math.isnan(value) for value in found.values())


@given(
    pairs=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_any_split_merged_equals_one_pass_and_a_plain_reference(pairs, cuts):
    pairs = [(min(pair), max(pair)) for pair in pairs]
    bounds = [0, *sorted(min(c, len(pairs)) for c in cuts), len(pairs)]
    parts = [scores_of(pairs[start:stop]) for start, stop in itertools.pairwise(bounds) if start < stop]
    merged = MaskOverlap().joined([part.state for part in parts])
    ious = [i / u if u else 0.0 for i, u in pairs]
    unions = sum(u for _, u in pairs)
    reference = {"oIoU": sum(i for i, _ in pairs) / unions if unions else 0.0, "mIoU": sum(ious) / len(ious)}
    reference |= {f"P@{t}": sum(x >= t for x in ious) / len(ious) for t in (0.5, 0.6, 0.7, 0.8, 0.9)}
    assert merged.compute() == pytest.approx(scores_of(pairs).compute(), rel=1e-12)
    assert merged.compute() == pytest.approx(reference, rel=1e-12)
    assert merged.count == len(pairs)


def test_added_states_are_a_metric_again():
    parts = [scores_of([(1, 2), (3, 4)]), scores_of([(5, 6)])]
    summed = parts[0].joined([part.state for part in parts])
    assert summed.compute() == scores_of([(1, 2), (3, 4), (5, 6)]).compute()
    assert parts[0].count == 2
