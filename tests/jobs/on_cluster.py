"""What tests on a cluster say about a submitted job."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml


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
