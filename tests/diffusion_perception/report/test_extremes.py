"""Which predictions are shown: the best and worst by score, none twice, drawn only if they may be."""

from __future__ import annotations

import random

import pytest

from diffusion_perception.report.predictions import Answered, Extremes
from pipeline.inspection.drawing import Drawing


def offered(scores: list[float], wanted: int, higher_is_better: bool) -> tuple[Extremes, int]:
    found, drawings = Extremes(wanted, higher_is_better), 0

    def draw(score: float) -> Answered:
        nonlocal drawings
        drawings += 1
        return Answered(score, Drawing(str(score), b"", b"", ()), b"", "")

    for score in scores:
        found.offer(score, lambda score=score: draw(score))
    return found, drawings


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize(("count", "wanted"), [(50, 4), (8, 4), (7, 4), (3, 4), (1, 2), (0, 2), (9, 0)])
def test_they_are_the_ends_of_the_sorted_scores(count: int, wanted: int, higher_is_better: bool) -> None:
    scores = [random.Random(seed).random() for seed in range(count)]
    found, drawings = offered([*scores, float("nan")], wanted, higher_is_better)
    best, worst = ([one.score for one in part] for part in found.apart())
    ranked = sorted(scores, reverse=higher_is_better)
    if count >= 2 * wanted:
        assert best == ranked[:wanted]
        assert worst == ranked[count - wanted :]
    else:
        assert best + worst == ranked
        assert len(best) - len(worst) in (0, 1)
    assert drawings <= count
    assert found.scored == (count if wanted else 0)


def test_few_of_many_are_drawn() -> None:
    scores = [random.Random(seed).random() for seed in range(2000)]
    assert offered(scores, 4, True)[1] < 150
