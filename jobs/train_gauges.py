"""What a run last reported, as Ray's metrics: a step and the scores of its evaluation, for deploy/grafana.

Set at checkpoints by the first worker; every logged number is in the run's own log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

STEP = "step"


class TrainGauges:
    """Lives as long as a worker; made where Ray runs."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Gauge

        self._run = run
        self._step = Gauge("perception_train_step", description="optimiser steps done", tag_keys=("run",))
        self._score = Gauge(
            "perception_train_score", description="a score of the last evaluation", tag_keys=("run", "metric")
        )

    def say(self, step: int | None, scores: Mapping[str, float]) -> None:
        """Take over what a run reports. What is not finite is left out: Prometheus would draw a hole or a lie."""
        if step is not None:
            self._step.set(step, tags={"run": self._run})
        for name, value in scores.items():
            if name != STEP and math.isfinite(value):
                self._score.set(value, tags={"run": self._run, "metric": name})
