"""The benchmark of large sets: what it writes can be read, and its rows are compared with those of their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.large import compared, measure, write_synthetic
from shards import ShardSet


def test_a_synthetic_set_is_read_by_processes_of_their_own(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "large", 120, 40)
    shards = ShardSet.open(tmp_path / "large")
    assert (shards.n_records, len(shards.manifest.shards)) == (120, 3)
    assert shards.record(85).key == shards.record(5).key == "000000000005"
    found = measure(tmp_path / "large", 2, 2)
    assert min(found["first_cpu_s"], found["resume_cpu_s"], found["cpu_us_a_sample"]) > 0
    assert found["anon_mb"] >= found["import_mb"] > 1


def test_rows_are_compared_with_the_first_of_their_order() -> None:
    rows: list[dict[str, Any]] = [
        {"order": order, "first_cpu_s": first, "resume_cpu_s": resume}
        for order, first, resume in (("all", 2.0, 4.0), ("window", 1.0, 1.0), ("all", 3.0, 10.0), ("window", 2.0, 5.0))
    ]
    compared(rows)
    assert [(row["first_times"], row["resume_times"]) for row in rows] == [(1, 1), (1, 1), (1.5, 2.5), (2, 5)]
