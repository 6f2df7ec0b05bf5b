"""What workers tell each other: states of different lengths arrive whole, in the order of the workers."""

from __future__ import annotations

from pathlib import Path

import torch

from tests import forked
from vpd.training.worker import Worker

LENGTHS = (3, 0)


def rows_of(rank: int) -> torch.Tensor:
    return torch.arange(LENGTHS[rank] * 2, dtype=torch.float64).view(-1, 2) + 100 * rank


def take_part(rank: int, folder: str) -> None:
    worker = Worker(rank, len(LENGTHS))
    rows = worker.gathered(rows_of(rank))
    total = worker.summed(torch.ones(2) * (rank + 1))
    torch.save({"rows": rows, "total": total}, f"{folder}/{rank}.pt")


def test_every_worker_receives_the_rows_of_all(tmp_path: Path) -> None:
    forked.together(take_part, str(tmp_path), meeting=tmp_path / "meeting", workers=len(LENGTHS))
    for rank in range(len(LENGTHS)):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert [rows.shape for rows in found["rows"]] == [(length, 2) for length in LENGTHS]
        assert all(torch.equal(rows, rows_of(other)) for other, rows in enumerate(found["rows"]))
        assert found["total"].tolist() == [3, 3]


def test_one_worker_needs_no_process_group() -> None:
    (rows,) = Worker().gathered(rows_of(0))
    assert torch.equal(rows, rows_of(0))
    assert torch.equal(Worker().summed(rows), rows)
