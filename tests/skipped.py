"""What a test run left out, for its closing lines: skipped tests grouped by the reason they gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest


def skipped_by_reason(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """One line a reason with its count, the commonest first, under a line with the total."""
    reasons = Counter(_reason(report) for report in reports)
    lines = [f"{count:5d}  {reason}" for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    return [f"{sum(reasons.values())} skipped" + (":" if reasons else ""), *lines]


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The text that was given to skip; pytest keeps it as (file, line, "Skipped: text")."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")
