"""What a training run left behind, as a report reads it: log, checkpoints, settings, evaluations.

Owns the reading, from a folder or a URL, of runs that are finished, running or broken off. What is made of it is its
neighbours'. Loads no weights.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diffusion_perception import settings
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.changed_settings import in_force
from diffusion_perception.report.curves import Curve
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError, CorruptCheckpoint
from shards.storage.storage import open_folder
from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.telemetry.log import LOG

EVALUATIONS = "evaluation-step-*.json"  # as `evaluate` names them
UNMEASURED = frozenset({"step", "kind", "time_s"})  # of a line: where it belongs


@dataclass(frozen=True)
class RunRecord:
    """One run."""

    url: str
    name: str  # the folder's
    job: TrainJob
    lines: tuple[Mapping[str, Any], ...]  # of the log, in its order
    checkpoints: tuple[Checkpoint, ...]  # finished ones, oldest first
    damaged: tuple[str, ...]  # what is wrong with the others
    state: Mapping[str, Any]  # of the newest: set, fingerprint, settings
    metric: str  # the score that chooses the best checkpoint
    higher_is_better: bool
    evaluations: Mapping[str, Mapping[str, Any]]  # set -> its newest scores, with `step`

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting in force, by its path."""
        return in_force(self.state["config"])

    def curve(self, kind: str, name: str) -> Curve:
        """One value of the log's `train` or `val` lines over the steps."""
        found = ((line["step"], line.get(name)) for line in self.lines if line["kind"] == kind)
        return tuple((step, value) for step, value in found if isinstance(value, int | float))

    def measured(self, kind: str) -> list[str]:
        """The names of the values that its lines have, in their order."""
        return list(
            dict.fromkeys(k for line in self.lines if line["kind"] == kind for k in line if k not in UNMEASURED)
        )

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best validation so far; None without one."""
        scored = self.curve("val", self.metric)
        sign = -1 if self.higher_is_better else 1
        return min(scored, key=lambda point: sign * point[1], default=None)


def read_run(url: str) -> RunRecord:
    """Read a run's folder.

    Raises:
        ConfigError: it is not one, or nothing of it was saved yet.
        CorruptCheckpoint: its newest checkpoint's state is damaged.
    """
    store = CheckpointStore(url)
    complete = store.complete()
    damaged = tuple(f"step {one.step}: {one.what}" for one in store.damaged())
    if not complete:
        said = f"damaged: {'; '.join(damaged)}" if damaged else "no finished checkpoint"
        raise ConfigError(
            f"{url}: is no run that a report could be made of ({said}). Name the folder of a run, run.out/run.name, "
            "once it has saved its first checkpoint."
        )
    state = store.load_state(complete[-1])
    if not isinstance(state.get("config"), dict):
        raise CorruptCheckpoint(f"{complete[-1].path}: its state has no settings (config)")
    job = settings.bind(TrainJob, state["config"])
    task = build_task(job)
    folder = open_folder(url, storage_options=job.data.storage if "://" in url else None)
    return RunRecord(
        url=url,
        name=posixpath.basename(url.rstrip("/")) or url,
        job=job,
        lines=tuple(_lines(folder.read(LOG))) if folder.exists(LOG) else (),
        checkpoints=tuple(complete),
        damaged=damaged,
        state=state,
        metric=task.metric_name,
        higher_is_better=task.higher_is_better,
        evaluations=dict(_evaluations(folder)),
    )


def _lines(text: bytes) -> Iterator[Mapping[str, Any]]:
    """The lines of a log that are whole: a killed run can leave a part of its last one."""
    for line in text.decode("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and isinstance(entry.get("kind"), str):
            yield entry


def _evaluations(folder: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Scores by set; where two files have one, the later step's."""
    found = []
    for name in folder.names(EVALUATIONS):
        try:
            written = json.loads(folder.read(name))
            found.append((int(written["step"]), {str(k): dict(v) for k, v in written["sets"].items()}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{folder}/{name}: is not what `evaluate` writes ({type(error).__name__}: {error}). Take it away, or "
                "evaluate again."
            ) from error
    for step, sets in sorted(found, key=lambda pair: pair[0]):
        for name, scores in sets.items():
            yield name, {"step": step, **{key: _number(value) for key, value in scores.items()}}


def _number(value: Any) -> float:
    """A score, NaN for one over nothing, which is written as null."""
    return math.nan if value is None else value
