"""What tests on a cluster submit, and what they say about a submitted job."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
import yaml

from demo.ray_head import RayHead
from shards.verify import find_faults


def succeeded(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode == 0, job.stdout[-6000:]
    return job.stdout


def refused(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode != 0, job.stdout[-6000:]
    return job.stdout


def written(path: Path, settings: dict) -> str:
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def processes_of(head: RayHead, name: str) -> list[psutil.Process]:
    """This cluster's processes whose command line holds `name`; another cluster may run on the same machine."""
    found = []
    for process in psutil.Process(head.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def build(head: RayHead, folder: Path, tiny_sd: Path, **changes: Any) -> Path:
    """Submit a build of small views with the tiny model; returns the folder of the sets."""
    settings = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": 12},
        "out": str(folder / "shards"),
        "resources": {"cpus_per_actor": 1},
        **changes,
    }
    succeeded(head.submit("--", "jobs/build_shards.py", "--config", written(folder / "build.yaml", settings)))
    for shards in (folder / "shards").iterdir():
        assert list(find_faults(shards)) == []
    return folder / "shards"


def train(head: RayHead, folder: Path, tiny_sd: Path, **changes: Any) -> Path:
    """Submit two steps of training; returns the run's folder."""
    settings = {
        "run": {"name": "run", "out": str(folder), "cpus_per_worker": 1},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd)} | changes.pop("backbone", {}),
        "loop": {"steps": 2, "log_every_steps": 1},
        **changes,
    }
    succeeded(head.submit("--", "jobs/train.py", "--config", written(folder / "train.yaml", settings)))
    return folder / "run"


def evaluated(head: RayHead, run: Path, shards: Path, workers: int = 1) -> dict[str, float]:
    out = run / f"{workers}.json"
    words = (f"run={run}", f"sets=[{shards}]", f"workers={workers}", f"out={out}")
    succeeded(head.submit("--", "jobs/evaluate.py", *words))
    return json.loads(out.read_text())["sets"][shards.name]
