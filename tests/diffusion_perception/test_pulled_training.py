"""A model learns from a pulled set where there is no picture, no image encoder and no text encoder."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import fsspec
import pytest

from diffusion_perception import training
from diffusion_perception.publishing import publish_sets
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from shards.upkeep.publication import pull_sets
from tests.toy_runs import run_settings, write_set


@pytest.mark.parametrize("task", ["refer", "seg"])
def test_a_model_learns_from_a_pulled_set_alone(task: str, tiny_sd: Path, tmp_path: Path) -> None:
    width = json.loads((tiny_sd / "unet" / "config.json").read_text())["cross_attention_dim"]
    bucket = f"memory://{uuid.uuid4().hex}"
    publish_sets([write_set(tmp_path / "builder" / task, task, width=width)], bucket)
    machine = tmp_path / "machine"
    pull_sets([f"{bucket}/{task}"], machine / "sets")
    shutil.rmtree(tmp_path / "builder")
    fsspec.filesystem("memory").rm(bucket, recursive=True)
    shutil.copytree(tiny_sd / "unet", machine / "model" / "unet")  # of the model folder, nothing else
    settings = run_settings(task, machine / "sets" / task, machine / "model", machine / "runs")
    settings |= {"run": {"name": "run", "out": str(machine / "runs"), "workers": 0}}
    settings |= {"loop": {"steps": 2, "log_every_steps": 1}, "optim": {}}
    training.train(bind(TrainJob, settings))
    lines = [json.loads(line) for line in (machine / "runs" / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2]
