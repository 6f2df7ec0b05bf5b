"""Settings of tiny builds and training runs as plain data, and both without a cluster."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from diffusion_perception import plugins
from diffusion_perception.building.assignment import Assignment
from diffusion_perception.building.builder import BuildJob, ShardBuilder
from diffusion_perception.settings import bind, replaced
from diffusion_perception.train_job import TrainJob
from diffusion_perception.training import train
from pipeline.building.plan import plan_shards
from pipeline.building.transaction import SetBuild
from pipeline.prompts.class_table import TABLE
from shards.contract.schema import Schema
from shards.contract.tables import write_table
from vpd.training.worker import Worker


def build_settings(world: Path, tiny_sd: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A build configuration as plain data; `changes` replace whole sections."""
    return {
        "name": "tiny",
        "source": {"name": "refcoco", "root": str(world)},
        "splits": ["train", "val"],
        "views": {"name": "exact", "size": 64},
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": 12},
        "out": str(out),
        "settings": {"records_per_shard": 6, "image_batch": 4},
        **changes,
    }


def build_here(settings: dict[str, Any]) -> None:
    """What jobs/build_shards.py does, in this process and on one thread of it."""
    job = replaced(bind(BuildJob, settings), {"resources.cpus_per_actor": 1})
    actor = ShardBuilder(job, "cpu")
    for split in job.splits:
        folder = Path(job.out, f"{job.name}-{split}")
        folder.mkdir(parents=True, exist_ok=True)
        told, views = actor.describe(split), plugins.build_views(job.view_spec(split), "views")
        planned = plan_shards(actor.source.keys(split), job.settings.records_per_shard, folder.name)
        begun = SetBuild(folder, planned, actor.source, split, views, told.recipe, told.environment)
        for shard in begun.todo:
            actor.build(Assignment(split, str(folder), begun.order, told.recipe, told.environment), shard)
        tables = [write_table(folder, TABLE, told.table.arrays, told.table.info)] if told.table else []
        begun.finish(Schema.from_json(told.schema), job.settings, print, partial(list, tables))


def train_settings(sets: Path, tiny_sd: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A training configuration as plain data; dotted `changes` as a dict `{"loop.steps": 3}` under `over`."""
    settings: dict[str, Any] = {
        "run": {"name": "run", "out": str(out), "cpus_per_worker": 1},
        "task": {"name": "refer"},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd)},
        "data": {"train": str(sets / "tiny-train"), "val": str(sets / "tiny-val"), "batch_size": 4},
        "optim": {"lr": 1e-3},
        "loop": {"steps": 6, "log_every_steps": 1, "eval_every_steps": 6},
    }
    for dotted, value in changes.get("over", {}).items():
        section, _, key = dotted.partition(".")
        settings.setdefault(section, {})[key] = value
    return settings


def train_here(settings: dict[str, Any]) -> dict[int, float]:
    """Train in this process; the loss of every step so far."""
    job = bind(TrainJob, settings)
    train(job, Worker())
    return losses_of(Path(job.folder))


def losses_of(folder: Path) -> dict[int, float]:
    """The loss of every step in a run's log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}
