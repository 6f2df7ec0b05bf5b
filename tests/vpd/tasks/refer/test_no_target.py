"""Scores with several targets and none: the benchmark's own figures, and a plain reading of its definitions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vpd.tasks.refer.no_target import GeneralScores, answers_nothing
from vpd.tasks.refer.overlap import mask_overlap

# Intersection, union, "no such object" answered, has a target: twelve answers that gRefCOCO's own code scored.
ANSWERS = [
    (69540, 156003, True, True),
    (14631, 17015, False, True),
    (15823, 38086, True, True),
    (0, 660, False, False),
    (42280, 70209, False, True),
    (14534, 20306, False, True),
    (14105, 14963, False, True),
    (0, 660, True, False),
    (51350, 56204, False, True),
    (17799, 19687, False, True),
    (17799, 19687, False, True),
    (0, 660, False, False),
]
OFFICIAL = {"gIoU": 0.570194, "cIoU": 0.417186, "T_acc": 0.77778, "N_acc": 0.33333} | {
    "Pr@0.7": 0.666667,
    "Pr@0.8": 0.555556,
    "Pr@0.9": 0.444444,
}


def scored(answers: list[tuple[int, int, bool, bool]]) -> GeneralScores:
    scores = GeneralScores()
    for inter, union, silent, has_target in answers:
        scores.update(torch.tensor([inter]), torch.tensor([union]), torch.tensor([silent]), has_target=has_target)
    return scores


def plainly(answers: list[tuple[int, int, bool, bool]]) -> dict[str, float]:
    """The definitions read one sentence at a time, 0 / 0 left out."""
    ious, inters, unions, found, refused = [], 0, 0, [], []
    for inter, union, silent, has_target in answers:
        if has_target:
            kept = 0 if silent else inter
            ious.append(kept / union if union else 0.0)
            inters, unions = inters + kept, unions + union
            found.append(ious[-1])
            refused.append(("T", not silent))
        else:
            ious.append(1.0 if silent else 0.0)
            unions += 0 if silent else union
            refused.append(("N", silent))
    ratios = {"gIoU": (sum(ious), len(ious)), "cIoU": (inters, unions)}
    for kind in "NT":
        right = [value for name, value in refused if name == kind]
        ratios[f"{kind}_acc"] = (sum(right), len(right))
    ratios |= {f"Pr@{t}": (sum(iou >= t for iou in found), len(found)) for t in (0.7, 0.8, 0.9)}
    return {name: part / whole for name, (part, whole) in ratios.items() if whole}


def test_answers_scored_by_the_benchmarks_own_code_score_the_same() -> None:
    assert scored(ANSWERS).compute() == pytest.approx(OFFICIAL, abs=1e-5)


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 400), st.booleans(), st.booleans()), min_size=1, max_size=20
    ),
    st.integers(0, 20),
)
def test_any_answers_in_any_two_parts_equal_a_plain_reading(answers: list, cut: int) -> None:
    answers = [(min(a, b) if has_target else 0, max(a, b), silent, has_target) for a, b, silent, has_target in answers]
    parts = scored(answers[:cut]), scored(answers[cut:])
    joined = GeneralScores(parts[0].state + parts[1].state)
    found = joined.compute()
    assert {name: value for name, value in found.items() if not math.isnan(value)} == pytest.approx(plainly(answers))
    assert joined.count == len(answers)
    assert joined.untargeted == sum(not has_target for *_, has_target in answers)


def test_a_score_over_nothing_is_not_a_number() -> None:
    def missing(answers: list[tuple[int, int, bool, bool]]) -> set[str]:
        return {name for name, value in scored(answers).compute().items() if math.isnan(value)}

    assert missing([]) == set(OFFICIAL)
    assert missing([(5, 10, False, True)]) == {"N_acc"}
    assert missing([(0, 0, True, False)]) == {"cIoU", "T_acc", "Pr@0.7", "Pr@0.8", "Pr@0.9"}
    assert missing([(0, 7, False, False)]) == {"T_acc", "Pr@0.7", "Pr@0.8", "Pr@0.9"}


def test_a_mask_of_fewer_pixels_than_asked_for_is_the_answer_nothing() -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[1, 0, :4] = True
    masks[2, 0, :5] = True
    assert answers_nothing(masks, 5).tolist() == [True, True, False]
    assert answers_nothing(masks, 0).tolist() == [False, False, False]


def test_the_real_worked_answers_score_as_the_benchmarks_own_code_scored_them(realdata: Path) -> None:
    folder = realdata / "own" / "refer_grefcoco_composed"
    instances = json.loads((folder / "instances.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in instances["images"]}
    polygons = {entry["id"]: entry["segmentation"] for entry in instances["annotations"]}
    answers = {answer["sent_id"]: answer for answer in json.loads((folder / "predictions.json").read_text())}
    scores = GeneralScores()
    for ref in json.loads((folder / "grefs(unc).json").read_text()):
        target = np.zeros(sizes[ref["image_id"]], bool)
        for ann_id in ref["ann_id"] if ref["ann_id"] != [-1] else []:
            parts = coco_mask.frPyObjects(polygons[ann_id], *target.shape)
            target |= coco_mask.decode(parts).any(axis=2)
        for sentence in ref["sentences"]:
            answer = answers[sentence["sent_id"]]
            rle = {"size": answer["mask"]["size"], "counts": answer["mask"]["counts"].encode()}
            mask = torch.from_numpy(coco_mask.decode(rle).astype(bool))[None]
            silent = torch.tensor([answer["pred_no_target"]])
            overlap = mask_overlap(mask, torch.from_numpy(target))
            scores.update(*overlap, silent, has_target=bool(target.any()))
    assert scores.compute() == pytest.approx(OFFICIAL, abs=1e-5)
