"""The ablations: each training leaves out what its row says, and the table has their means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.ablation_chapter import NOTHING, SEEDS, outcome, trainings
from demo.ade20k_world import CLASSES
from demo.starts import write_starts
from demo.tiny_sd import write_tiny_sd


def test_a_row_is_the_mean_over_the_seeds_with_what_lies_between_them(tmp_path: Path) -> None:
    made = trainings(write_starts(tmp_path, write_tiny_sd(tmp_path / "pretrained")))
    assert not made[0].settings, "the first is the whole method"
    assert all(training.settings for training in made[1:])
    for number, training in enumerate(made):
        for seed in SEEDS:
            run = tmp_path / f"runs/ablation-{training.name}-{seed}"
            run.mkdir(parents=True)
            entries = [{"kind": "train", "loss": 1.0}, {"kind": "val", "mIoU": 0.5 - 0.1 * number + 0.02 * seed}]
            (run / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    found = outcome(tmp_path, made)
    assert list(found.rows) == [training.what for training in made]
    assert [row[0] for row in found.rows.values()] == pytest.approx([0.51, 0.41, 0.31, 0.21])
    assert [row[1] for row in found.rows.values()] == pytest.approx([0.02] * 4)


def test_there_is_a_word_that_says_nothing_for_every_class() -> None:
    assert len(set(NOTHING)) == len(CLASSES)
    assert not set(NOTHING) & set(CLASSES)
