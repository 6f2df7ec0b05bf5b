"""How tests use a cluster: one driver process that runs job after job on it, and what they say about jobs.

Few tests need it: what only concerns a dataset or a task runs without (`short_runs`). The literal command lines are
`test_on_a_cluster`'s.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from demo.ray_head import RayHead

# In the environment of whoever starts a run: its controller looks every 2 s whether the workers have begun, or ended.
SOON = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}


def succeeded(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode == 0, job.stdout[-6000:]
    return job.stdout


def refused(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode != 0, job.stdout[-6000:]
    return job.stdout


def submitted(head: RayHead, entrypoint: str, working_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Submit by the client and wait for the end, which `ray job submit` says seconds later."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(head.api)
    environment = {"working_dir": str(working_dir)} if working_dir else None
    job = client.submit_job(entrypoint=entrypoint, runtime_env=environment)
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(0.2)
    return subprocess.CompletedProcess(entrypoint, int(status != JobStatus.SUCCEEDED), client.get_job_logs(job))


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
    os.environ.update(SOON, RAY_ADDRESS=address)


def _run(job: str, words: tuple[str, ...]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            importlib.import_module(job).run(list(words))
        except BaseException as error:
            error.add_note(printed.getvalue()[-6000:])
            raise
    return printed.getvalue()


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def wait_for(condition: Callable[[], bool], timeout_s: float = 150) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the awaited moment never came"
        time.sleep(0.05)


def processes_of(head: RayHead, name: str) -> list[Any]:
    """This cluster's processes whose command line holds `name`; another cluster may run on the same machine."""
    import psutil  # Ray carries it in a folder that its own import puts on the path

    found = []
    for process in psutil.Process(head.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found
