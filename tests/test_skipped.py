"""The closing lines of a test run: how many tests were skipped, by reason."""

from __future__ import annotations

import pytest

from tests.skipped import skipped_by_reason


def skipped(name: str, told: object) -> pytest.TestReport:
    return pytest.TestReport(name, ("test_x.py", 1, name), {}, "skipped", told, "setup")  # type: ignore[arg-type]


def test_reasons_are_counted_the_commonest_first() -> None:
    reports = [
        skipped("a", ("test_x.py", 1, "Skipped: no cluster")),
        skipped("b", ("test_x.py", 2, "Skipped: no sample")),
        skipped("c", ("test_x.py", 3, "Skipped: no sample")),
        skipped("d", "expected to fail: known"),
    ]
    assert skipped_by_reason(reports) == [
        "4 skipped:",
        "    2  no sample",
        "    1  expected to fail: known",
        "    1  no cluster",
    ]


def test_nothing_skipped_is_said_as_well() -> None:
    assert skipped_by_reason([]) == ["0 skipped"]
