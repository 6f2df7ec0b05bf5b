"""Several runs held against each other: settings that differ, repetitions with other seeds, their mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_perception.report.runs import RunRecord

APART = (
    "run",
    "data.cache_dir",
    "data.cache_gb",
    "data.index_mb",
    "data.storage",
)  # say where and how, not what is learned
SEED = "loop.seed"


@dataclass(frozen=True)
class Repeated:
    """Runs of one configuration that differ in their seed."""

    runs: tuple[RunRecord, ...]

    @property
    def seeds(self) -> list[Any]:
        return [run.settings[SEED] for run in self.runs]

    def spread(self) -> dict[str, tuple[float, float]]:
        """For every score that all of them have: mean and standard deviation of a sample, `set: score`."""
        scored = [scores_of(run) for run in self.runs]
        common = [key for key in scored[0] if all(key in one for one in scored)]
        values = {key: [one[key] for one in scored] for key in common}
        return {key: (statistics.fmean(found), statistics.stdev(found)) for key, found in values.items()}


def scores_of(run: RunRecord) -> dict[str, float]:
    """What a run reached: `set: score` of its evaluations, and of the validations in training the best one's."""
    found: dict[str, float] = {}
    if run.best:
        step = run.best[0]
        entry = next(line for line in run.lines if line["kind"] == "val" and line["step"] == step)
        found = {f"validation: {name}": entry[name] for name in run.measured("val") if _finite(entry.get(name))}
    for place, scores in run.evaluations.items():
        found |= {f"{place}: {name}": value for name, value in scores.items() if name != "step" and _finite(value)}
    return found


def differences(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs, each run's value of it; None where a run has no such setting."""
    all_settings = [run.settings for run in runs]
    paths = dict.fromkeys(path for one in all_settings for path in one)
    found = {path: [one.get(path) for one in all_settings] for path in paths if not _apart(path)}
    found["fingerprint of the training set"] = [run.state["fingerprint"][:12] for run in runs]
    return {path: values for path, values in found.items() if any(value != values[0] for value in values)}


def repetitions(runs: Sequence[RunRecord]) -> list[Repeated]:
    """Groups of at least two runs that were told the same but for the seed."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        told = {path: value for path, value in run.settings.items() if path != SEED and not _apart(path)}
        groups.setdefault(repr((sorted(told.items()), run.state["fingerprint"])), []).append(run)
    return [Repeated(tuple(group)) for group in groups.values() if len({run.settings[SEED] for run in group}) > 1]


def _apart(path: str) -> bool:
    return any(path == apart or path.startswith(f"{apart}.") for apart in APART)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and value == value
