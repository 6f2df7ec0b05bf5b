"""What may change between two starts of a run: everything else is listed, old and new, and refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception.changed_settings import FREE, changes, check_unchanged
from diffusion_perception.settings import bind, describe, replaced, to_plain
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError
from tests.toy_runs import run_settings
from vpd.training.checkpoints.checkpoint import CheckpointStore


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    return bind(TrainJob, run_settings("depth", tmp_path / "set", tmp_path / "model", tmp_path))


@pytest.fixture
def store(job: TrainJob) -> CheckpointStore:
    """A run that has ended at step 3."""
    store = CheckpointStore(job.folder)
    store.save(3, {"model": {"w": torch.zeros(1)}}, {"config": to_plain(job)})
    return store


def found(job: TrainJob, **values: Any) -> list[str]:
    return list(changes(to_plain(job), to_plain(replaced(job, {k.replace("__", "."): v for k, v in values.items()}))))


CHANGED = {
    "optim.lr": (1e-3, "optim.lr: 5e-05 -> 0.001"),
    "optim.weight_decay": (0.1, "optim.weight_decay: 0.01 -> 0.1"),
    "optim.betas": ((0.8, 0.9), "optim.betas: [0.9, 0.999] -> [0.8, 0.9]"),
    "optim.preset": ("depth", "optim.preset: vpd_code -> depth"),
    "optim.schedule": ({"name": "poly", "power": 1.0}, "optim.schedule.power: 0.9 -> 1.0"),
    "loop.steps": (24, "loop.steps: 12 -> 24"),
    "loop.epochs": (2.0, "loop.epochs: 40.0 -> 2.0"),
    "loop.seed": (1, "loop.seed: 0 -> 1"),
    "loop.precision": ("bfloat16", "loop.precision: auto -> bfloat16"),
    "model.latent_scale": (0.18215, "model.latent_scale: 1.0 -> 0.18215"),
    "model.head": ({"width": 32, "hidden": 8}, "model.head.hidden: 16 -> 8"),
    "backbone": ({"name": "sd_unet", "model": "elsewhere"}, "-> elsewhere"),
    "task": ({"name": "depth", "crop": "none", "loss": "per_image"}, "task.loss: pooled -> per_image"),
    "data.batch_size": (8, "data.batch_size: 4 -> 8"),
    "data.val": ("", "-> none"),
    "data.latents": ("online", "data.latents: cached -> online"),
    "encoders.dtype": ("float16", "encoders.dtype: float32 -> float16"),
}


@pytest.mark.parametrize(("path", "value", "line"), [(path, *case) for path, case in CHANGED.items()])
def test_a_change_is_listed_with_both_values(job: TrainJob, path: str, value: Any, line: str) -> None:
    listed = [entry for entry in found(job, **{path: value}) if entry.endswith(line)]
    assert len(listed) == 1
    assert listed[0].startswith(path)


def test_a_default_that_is_written_down_is_no_change(job: TrainJob) -> None:
    assert not found(job)
    assert not found(job, task={"name": "depth", "crop": "none", "loss": "pooled", "focus": "0.5"})
    assert not found(job, **{"model.head": {"name": "depth_decoder", "width": 32, "hidden": 16}})


def test_a_setting_that_an_older_version_did_not_write_is_its_default(job: TrainJob) -> None:
    before = to_plain(job)
    del before["loop"]["precision"], before["encoders"], before["run"]["allow_changed"]
    assert not list(changes(before, to_plain(job)))
    before["loop"]["gone"] = 3  # and one that no longer exists decides nothing
    assert not list(changes(before, to_plain(job)))


@pytest.mark.parametrize("path", FREE)
def test_what_may_change_freely_exists_and_has_a_reason(job: TrainJob, path: str) -> None:
    known = [setting.path for setting in describe.settings_of(TrainJob)]
    assert any(name == path or name.startswith(f"{path}.") for name in known)
    assert len(FREE[path].split()) > 3


def test_logs_workers_and_places_may_change(job: TrainJob) -> None:
    over = {"run.workers": 8, "run.max_failures": 9, "data.threads": 7, "data.train": "s3://elsewhere"}
    over |= {"loop.log_every_steps": 1, "loop.keep_last": 9, "loop.nonfinite": "skip", "encoders.model": "elsewhere"}
    assert not found(job, **over)


def test_a_changed_run_is_refused_with_every_change(job: TrainJob, store: CheckpointStore) -> None:
    newest = store.named("last", "")
    assert check_unchanged(job, store, newest) == []
    changed = replaced(job, {"optim.lr": 1e-3, "loop.seed": 7, "loop.log_every_steps": 1})
    lines = ["optim.lr: 5e-05 -> 0.001", "loop.seed: 0 -> 7"]
    with pytest.raises(ConfigError, match=r"other settings:\n  " + re.escape("\n  ".join(lines)) + r"\n.*--allow-ch"):
        check_unchanged(changed, store, newest)
    assert check_unchanged(replaced(changed, {"run.allow_changed": True}), store, newest) == lines
