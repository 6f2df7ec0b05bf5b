"""The best checkpoint is one that was scored: NaN, the score over nothing, never wins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpd.training.checkpoints.checkpoint import CheckpointStore

NAN = float("nan")


def store_of(folder: Path, *scores: float) -> CheckpointStore:
    store = CheckpointStore(str(folder))
    for step, score in enumerate(scores, 1):
        store.save(step, {"model": {"w": torch.zeros(1)}}, {"step": step}, {"gIoU": score})
    return store


@pytest.mark.parametrize(("higher", "step"), [(True, 3), (False, 2)])
def test_a_score_over_nothing_is_never_the_best(tmp_path: Path, higher: bool, step: int) -> None:
    best = store_of(tmp_path, NAN, 0.2, 0.4, NAN).best("gIoU", higher_is_better=higher)
    assert best is not None
    assert best.step == step


def test_scores_over_nothing_alone_choose_no_best_and_pruning_keeps_the_last(tmp_path: Path) -> None:
    store = store_of(tmp_path, NAN, NAN, NAN)
    assert store.best("gIoU") is None
    store.prune(1, "gIoU")
    assert [checkpoint.step for checkpoint in store.complete()] == [3]


def test_pruning_keeps_the_best_beside_a_score_that_is_none(tmp_path: Path) -> None:
    store = store_of(tmp_path, NAN, 0.5, 0.9, 0.8, 0.7)
    store.prune(1, "gIoU")
    best = store.best("gIoU")
    assert best is not None
    assert best.metrics["gIoU"] == 0.9
    assert [checkpoint.step for checkpoint in store.complete()] == [3, 5]


def test_infinity_is_no_score(tmp_path: Path) -> None:
    best = store_of(tmp_path, float("inf"), 0.2).best("gIoU")
    assert best is not None
    assert best.step == 2
