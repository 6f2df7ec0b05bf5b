"""Settings of tiny builds and training runs as plain data, and a build without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import config
from jobs.encoder_actor import BuildJob, EncoderActor
from pipeline import ledger
from pipeline.build import finalize
from pipeline.plan import plan_shards
from pipeline.prompts import TABLE
from shards.schema import Schema
from shards.tables import write_table


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
    """What jobs/build_shards.py does, in this process."""
    job = config.build(BuildJob, settings)
    actor = EncoderActor(config.to_plain(job), "cpu")
    for split in job.splits:
        folder = Path(job.out, f"{job.name}-{split}")
        folder.mkdir(parents=True)
        recipe, schema, table = actor.describe(split)
        ledger.open_build(folder, recipe)
        tasks = plan_shards(actor.source.keys(split), job.settings.records_per_shard, folder.name)
        for task in tasks:
            actor.build(split, str(folder), task)
        tables = [write_table(folder, TABLE, table.arrays, table.info)] if table else []
        finalize(tasks, actor.source, split, Schema.from_json(schema), recipe, folder, job.settings, tables)


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
