"""The printed table of an evaluation: sets with different scores share it, and a score over nothing is a dash."""

from __future__ import annotations

from diffusion_perception.evaluation import table


def test_sets_of_different_scores_share_a_table() -> None:
    results = {
        "checkpoint": "runs/x/step-000000002",
        "sets": {
            "refcoco-val": {"samples": 4, "oIoU": 0.5, "native/oIoU": 0.25},
            "grefcoco-val": {"samples": 12, "oIoU": 0.5, "gIoU": 0.125, "N_acc": float("nan")},
        },
    }
    header, *rows = (line.split() for line in table(results).splitlines()[1:])
    assert header == ["samples", "oIoU", "native/oIoU", "gIoU", "N_acc"]
    assert rows[0] == ["refcoco-val", "4", "0.5000", "0.2500", "-", "-"]
    assert rows[1] == ["grefcoco-val", "12", "0.5000", "-", "0.1250", "-"]
