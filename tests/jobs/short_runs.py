"""Real samples through the commands without a cluster: a build, two steps of training, scores of one or two workers.

What a cluster adds to these is the same for every dataset: `test_many_processes` and `test_on_a_cluster` look at it.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import build_without_ray
import several_workers
import yaml

from shards.verify import find_faults


def written(path: Path, settings: dict) -> str:
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def build(folder: Path, tiny_sd: Path, **changes: Any) -> Path:
    """Build small views with the tiny model; returns the folder of the sets."""
    settings = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": 12},
        "out": str(folder / "shards"),
        **changes,
    }
    build_without_ray.run(["--config", written(folder / "build.yaml", settings)])
    for shards in (folder / "shards").iterdir():
        assert list(find_faults(shards)) == []
    return folder / "shards"


def train(folder: Path, tiny_sd: Path, workers: int = 0, **changes: Any) -> Path:
    """Two steps of training, in this process or on `workers` that this machine starts; returns the run's folder."""
    settings = {
        "run": {"name": "run", "out": str(folder), "workers": workers},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd)} | changes.pop("backbone", {}),
        "loop": {"steps": 2, "log_every_steps": 1},
        **changes,
    }
    if workers:
        several_workers.train(settings, folder / "meeting")
    else:
        importlib.import_module("jobs.train").run(["--config", written(folder / "train.yaml", settings)])
    return folder / "run"


def evaluated(run: Path, shards: Path, workers: int = 0) -> dict[str, float]:
    """The scores of a run on a set: by the command, or in so many parts, as workers compute them."""
    out = run / f"{workers}.json"
    if workers:
        several_workers.evaluate(run, [shards], out, workers)
    else:
        words = [f"run={run}", f"sets=[{shards}]", "workers=0", f"out={out}"]
        importlib.import_module("jobs.evaluate").run(words)
    return json.loads(out.read_text())["sets"][shards.name]
