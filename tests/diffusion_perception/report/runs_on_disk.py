"""Folders of runs as training leaves them, without training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diffusion_perception.settings import bind, replaced, to_plain
from diffusion_perception.train_job import TrainJob
from tests.toy_runs import run_settings
from vpd.training.checkpoints.checkpoint import CheckpointStore


def write_run(
    out: Path,
    name: str,
    *,
    task: str = "depth",
    rmse: tuple[float | None, ...] = (1.5, 0.5, 0.75),
    scores: Mapping[str, float | None] | None = None,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Path:
    """A run of three validations by `rmse`, ten steps apart; returns its folder.

    Args:
        rmse: of the validations; None is what the log writes for a score over nothing.
        scores: of an evaluation on the set `test`, if there was one.
    """
    job = bind(TrainJob, run_settings(task, out / "set", out / "model", out))
    job = replaced(job, {"run.name": name} | {key.replace("__", "."): value for key, value in settings.items()})
    folder = Path(job.folder)
    state = {"step": 30, "config": to_plain(job), "train_set": "toy", "fingerprint": "f" * 64}
    state |= {"environment": dict(environment)} if environment else {}
    CheckpointStore(job.folder).save(30, {"model": {"w": torch.zeros(1)}}, state)
    lines: list[dict[str, Any]] = []
    for number, value in enumerate(rmse, 1):
        step = 10 * number
        train = {"loss": 1 / number, "lr": 1e-3, "items_per_s": 4.0, "wait_share": 0.25}
        lines += [
            {"step": step, "kind": "train", "time_s": 100.0 * number, **train},
            {"step": step, "kind": "val", "time_s": 100.0 * number, "rmse": value, "d1": 0.5},
        ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if scores is not None:
        written = {"run": job.folder, "step": 30, "sets": {"test": {"samples": 7, **scores}}}
        (folder / "evaluation-step-30.json").write_text(json.dumps(written))
    return folder
