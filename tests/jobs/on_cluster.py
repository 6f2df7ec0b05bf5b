"""How tests use a cluster: one driver process that runs job after job on it, and what they say about jobs.

A build, and what runs on several workers, needs the cluster; two steps of training and an evaluation of a few records
do not, and run in this process (`workers=0`). The literal command lines are `test_on_a_cluster`'s.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import subprocess
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from demo.ray_head import RayHead
from shards.verify import find_faults


def succeeded(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode == 0, job.stdout[-6000:]
    return job.stdout


def refused(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode != 0, job.stdout[-6000:]
    return job.stdout


class Driver:
    """A process that stays and runs one job after the other on a head: what a submission starts anew for each.

    Apart from the tests' own process, which a lost cluster would take along.
    """

    def __init__(self, head: RayHead) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, spawned, initializer=_point_to, initargs=(head.address,))

    def start(self, job: str, *words: str) -> Future[str]:
        """Begin a job, e.g. `jobs.train`, once those before it have ended; the future is its output, or its error."""
        return self._process.submit(_run, job, words)

    def run(self, job: str, *words: str) -> str:
        """Run a job to its end; returns what it printed."""
        return self.start(job, *words).result()

    def close(self) -> None:
        self._process.shutdown()


def _point_to(address: str) -> None:
    os.environ["RAY_ADDRESS"] = address


def _run(job: str, words: tuple[str, ...]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            importlib.import_module(job).run(list(words))
        except BaseException as error:
            error.add_note(printed.getvalue()[-6000:])
            raise
    return printed.getvalue()


def written(path: Path, settings: dict) -> str:
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def processes_of(head: RayHead, name: str) -> list[Any]:
    """This cluster's processes whose command line holds `name`; another cluster may run on the same machine."""
    import psutil  # Ray carries it in a folder that its own import puts on the path

    found = []
    for process in psutil.Process(head.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def build(driver: Driver, folder: Path, tiny_sd: Path, **changes: Any) -> Path:
    """Build small views with the tiny model; returns the folder of the sets."""
    settings = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": 12},
        "out": str(folder / "shards"),
        "resources": {"cpus_per_actor": 1},
        **changes,
    }
    driver.run("jobs.build_shards", "--config", written(folder / "build.yaml", settings))
    for shards in (folder / "shards").iterdir():
        assert list(find_faults(shards)) == []
    return folder / "shards"


def train(folder: Path, tiny_sd: Path, driver: Driver | None = None, **changes: Any) -> Path:
    """Two steps of training, in this process or, with a `driver`, on two workers; returns the run's folder."""
    settings = {
        "run": {"name": "run", "out": str(folder), "workers": 2 if driver else 0},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd)} | changes.pop("backbone", {}),
        "loop": {"steps": 2, "log_every_steps": 1},
        **changes,
    }
    run = driver.run if driver else _run_here
    run("jobs.train", "--config", written(folder / "train.yaml", settings))
    return folder / "run"


def evaluated(run: Path, shards: Path, driver: Driver | None = None) -> dict[str, float]:
    """The scores of a run on a set: from this process or, with a `driver`, from two workers."""
    workers = 2 if driver else 0
    out = run / f"{workers}.json"
    words = (f"run={run}", f"sets=[{shards}]", f"workers={workers}", f"out={out}")
    (driver.run if driver else _run_here)("jobs.evaluate", *words)
    return json.loads(out.read_text())["sets"][shards.name]


def _run_here(job: str, *words: str) -> None:
    importlib.import_module(job).run(list(words))
