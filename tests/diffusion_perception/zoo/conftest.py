"""Runs of every task and of both methods with one checkpoint of random weights, as training writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion_perception.assembly.companions import backbone_facts, build_encoder, encoder_setting
from diffusion_perception.assembly.network import build_model
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.settings import bind, to_plain
from diffusion_perception.train_job import TrainJob
from shards.contract.schema import Field, Schema
from vpd.model.regimes import apply_regime
from vpd.training.checkpoints.checkpoint import CheckpointStore

WIDTH, TOKENS, STEP = 64, 12, 40
WORDS = (Field("tokens", "npy", "int32", ("S", TOKENS), "sentence"),)
META = {"attention_maps": "", "timestep": None, "output_head": True}
RUNS: dict[str, dict[str, Any]] = {
    "refer": {"task": {"name": "refer"}, "model": {"train": "lora", "latent_scale": 0.5}},
    "seg": {"task": {"name": "seg", "classes": 5}},
    "depth": {
        "task": {"name": "depth", "crop": "none"},
        "predict_views": {"name": "depth_tiles", "size": 64, "short_side": 60, "stride": 40},
        "loop": {"precision": "float32"},
    },
    "pose": {
        "task": {"name": "pose"},
        "backbone": {"attention_maps": "", "timestep": None},
        "model": {"prompts": {"count": 17}, "head": {"width": 32}},
    },
    "meta_depth": {
        "task": {"name": "depth"},
        "backbone": META,
        "model": {"prompts": {"count": 5, "passes": 2}, "head": {"name": "prompt_depth", "hidden": 16}},
    },
    "meta_seg": {
        "task": {"name": "seg", "classes": 5},
        "backbone": META,
        "model": {"prompts": {"count": 5, "passes": 2, "adapter": False}, "head": {"name": "upernet", "channels": 16}},
    },
}


@pytest.fixture(scope="session")
def recipe(tiny_sd: Path) -> dict[str, Any]:
    """Of a set that was built with the tiny model."""
    job = bind(TrainJob, _settings("refer", tiny_sd, Path("/nowhere")))
    facts, cpu = backbone_facts(job.backbone), torch.device("cpu")
    image = build_encoder(encoder_setting(job, "image", facts.companions), "image", cpu)
    text = build_encoder(encoder_setting(job, "text", facts.companions, length=TOKENS), "text", cpu)
    return {"source": {"name": "nyuv2"}, "image_encoder": image.fingerprint, "text_encoder": text.fingerprint}


@pytest.fixture(scope="session")
def run_of(tiny_sd: Path, recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder of a run, once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = write_run(_settings(name, tiny_sd, tmp_path_factory.mktemp("runs")), recipe)
        return made[name]

    return make


def _settings(name: str, tiny_sd: Path, out: Path) -> dict[str, Any]:
    chosen = RUNS[name]
    return {
        "run": {"name": f"{name}-run", "out": str(out)},
        "data": {"train": "/private/sets/toy-train", "val": "/private/sets/toy-val"},
        **chosen,
        "backbone": {"name": "sd_unet", "model": str(tiny_sd), **chosen.get("backbone", {})},
    }


def write_run(settings: dict[str, Any], recipe: dict[str, Any]) -> Path:
    """One checkpoint, with averaged weights that are not the last ones, and an evaluation at its step."""
    job = bind(TrainJob, settings)
    task = build_task(job)
    side = (16, 8) if job.task["name"] == "pose" else (8, 8)
    fields = (Field("latent", "npy", "float16", ("V", 4, *side), "view"), Field("meta", "json"))
    refer = job.task["name"] == "refer"
    schema = Schema((*fields[:1], *(WORDS if refer else ()), *fields[1:]), "sentence" if refer else "view")
    table = None
    if not refer and not job.model.prompts.count:
        rows = 5 if job.task["name"] == "seg" else 3
        table = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32)
    model = apply_regime(build_model(job, task, schema, table), job.model)
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    torch.manual_seed(1)
    with torch.no_grad():  # away from zeros that a training starts with
        for value in learned.values():
            value.add_(torch.randn_like(value), alpha=0.02)
    state = {
        "config": to_plain(job),
        "schema": schema.to_json(),
        "recipe": recipe,
        "class_names": ["attic", "bath", "den", "hall", "loft"][: len(table)] if table is not None else [],
        "step": STEP,
        "train_set": "toy-train",
        "fingerprint": "ab" * 32,
        "environment": {"torch": "2.13.0", "device": "cpu"},
    }
    average = {name: value.detach() * 0.9 for name, value in learned.items()}
    tensors = {"model": model.state_dict(), "average": average, "optimizer": {"exp_avg/x": torch.zeros(2)}}
    CheckpointStore(job.folder).save(STEP, tensors, state, {task.metric_name: 0.5})
    written = {
        "step": STEP,
        "sets": {"toy-test": {"samples": 7, task.metric_name: 0.625, "over_nothing": None}},
        "fingerprints": {"toy-test": "cd" * 32},
    }
    Path(job.folder, f"evaluation-step-{STEP}.json").write_text(json.dumps(written))
    return Path(job.folder)
