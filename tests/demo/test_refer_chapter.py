"""What the demo's tables say of trainings, read off their logs."""

from __future__ import annotations

import json
from pathlib import Path

from demo.refer_chapter import trainings
from demo.starts import Start


def write_log(run: Path, **scores: float) -> None:
    """step_N=oIoU, and between them what is no validation."""
    run.mkdir()
    entries = [{"kind": "val", "step": int(name[5:]), "oIoU": score} for name, score in scores.items()]
    lines = [json.dumps(entry) for entry in [{"kind": "train", "step": 1}, *entries]]
    (run / "log.jsonl").write_text("\n".join(lines) + "\n")


def test_a_table_has_the_start_the_halves_and_the_ends(tmp_path: Path) -> None:
    write_log(tmp_path / "refer", step_0=0.1, step_2=0.3, step_3=0.35, step_4=0.5)
    write_log(tmp_path / "refer-random", step_4=0.4)
    starts = (Start("pre-trained weights", "tiny-sd"), Start("random weights", "other", "-random"))
    assert {name: row["oIoU"] for name, row in trainings(tmp_path / "refer", starts).items()} == {
        "pre-trained weights, not trained": 0.1,
        "  2 of 4 steps from pre-trained weights": 0.3,
        "from pre-trained weights": 0.5,
        "from random weights": 0.4,
    }
