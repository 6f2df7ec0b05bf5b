"""A run that loses a machine goes on without it, and with it again when it is back, on the same batches throughout."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from on_cluster import Driver, wait_for
from short_runs import written
from toy_jobs import losses_of, train_here, train_settings

from demo.ray_head import AGENT_PORTS, BIN, RayHead, free_ports
from diffusion_perception.settings import bind
from diffusion_perception.train_job import RunConfig, TrainJob
from jobs import placement
from shards.errors import ConfigError
from vpd.training.checkpoints.checkpoint import CheckpointStore

ROOT = Path(__file__).resolve().parents[2]
NOTICED_SOON = {  # a lost machine within five seconds, and a slow one not at all
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_worker_niceness": "0",
}
LOST_AT, ALONE_AT, STEPS = 4, 7, 9


@contextlib.contextmanager
def second_machine(head: RayHead) -> Iterator[subprocess.Popen[bytes]]:
    ports = [f"--{name}={port}" for name, port in zip(AGENT_PORTS[1:], free_ports(3), strict=True)]
    command = [str(BIN / "ray"), "start", f"--address={head.address}", "--block", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--disable-usage-stats", *ports]
    process = subprocess.Popen(command, env=head.env, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        lose(process)


def machines_of(head: RayHead) -> int:
    with urllib.request.urlopen(f"{head.api}/nodes?view=summary", timeout=30) as answer:
        found = json.load(answer)["data"]["summary"]
    return sum(machine["raylet"].get("state") == "ALIVE" for machine in found)


def lose(machine: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(machine.pid, signal.SIGKILL)
    machine.wait()


@pytest.mark.skipif(not os.environ.get("ELASTIC"), reason="minutes, on a machine with nothing else to do: ELASTIC=1")
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_run_shrinks_and_grows_with_its_machines(
    sets: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    schedule = {"name": "tests.jobs.gated_schedule", "folder": str(gates), "lost_at": LOST_AT, "alone_at": ALONE_AT}
    over = {
        "loop.steps": STEPS,
        "loop.save_every_steps": 3,
        "data.val": "",
        "data.micro_batch_size": 1,  # so that batch norms see the same on any number of workers
        "optim.schedule": schedule,
        "run.name": "whole",
        "run.workers": 0,
    }
    whole = train_here(train_settings(sets, tiny_sd, tmp_path, over=over))

    elastic = over | {"run.name": "elastic", "run.workers": 2, "run.min_workers": 1, "run.grow_every_s": 2}
    config = written(tmp_path / "elastic.yaml", train_settings(sets, tiny_sd, tmp_path, over=elastic))
    for name, value in {"HEALTH_CHECK_INTERVAL_S": "0.2", "WORKER_GROUP_START_TIMEOUT_S": "10"}.items():
        monkeypatch.setenv(f"RAY_TRAIN_{name}", value)
    with RayHead(ROOT, num_cpus=1, env=NOTICED_SOON) as head, second_machine(head) as machine:
        wait_for(lambda: machines_of(head) == 2)
        driver = Driver(head)
        run = driver.start("jobs.train", "--config", config)
        wait_for(lambda: (gates / "two").exists() or run.done(), timeout_s=300)
        lose(machine)
        (gates / "lost").touch()
        wait_for(lambda: (gates / "alone").exists() or run.done(), timeout_s=300)
        with second_machine(head):
            output = run.result()
        driver.close()
    assert "lost a worker" in output, output[-4000:]
    said = re.findall(r"on (\d) worker\(s\), cpu.*starting at step \d", output)
    workers = [number for number, _ in itertools.groupby(map(int, said))]  # Ray prints a line more than once
    assert workers == [2, 1, 2], output[-4000:]
    assert losses_of(tmp_path / "elastic") == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"workers": 2, "min_workers": 3}, r"run.min_workers is 3; expected 1 to run.workers \(2\)"),
        ({"workers": 0, "min_workers": 1}, r"run.min_workers is 1; expected 1 to run.workers \(0\)"),
        ({"workers": 2, "min_workers": -1}, "run.min_workers is -1"),
        ({"workers": 2, "grow_every_s": 0.0}, "run.grow_every_s is 0; expected some seconds"),
    ],
)
def test_a_range_that_is_none_is_refused(change: dict[str, float], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        RunConfig(name="x", **change)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("fewest", "asked"), [(0, 4), (4, 4), (1, (1, 4))])
def test_ray_is_asked_for_a_number_or_a_range(fewest: int, asked: int | tuple[int, int]) -> None:
    scaling = placement.scaling(RunConfig(name="x", workers=4, min_workers=fewest, grow_every_s=90), {"CPU": 1.0})
    assert scaling.num_workers == asked
    assert fewest in (0, 4) or scaling.elastic_resize_monitor_interval_s == 90


class LosingTrainer:
    """Loses a worker in every attempt, some of them after a newer checkpoint."""

    attempts: ClassVar[list[int]] = []
    steps: ClassVar[dict[int, int]] = {}  # attempt -> the checkpoint it finishes
    folder = ""

    def __init__(self, *known: Any, **settings: Any) -> None: ...

    def fit(self) -> None:
        from ray.train import WorkerGroupError

        self.attempts.append(len(self.attempts))
        if step := self.steps.get(len(self.attempts)):
            CheckpointStore(self.folder).save(step, {"model": {"w": torch.zeros(1)}}, {})
        raise WorkerGroupError("a worker is gone", {0: RuntimeError("Connection closed by peer")})


@pytest.mark.parametrize(("steps", "attempts"), [({}, 3), ({1: 4, 2: 8, 4: 12}, 6)])
def test_only_losses_without_a_newer_checkpoint_end_a_run(
    steps: dict[int, int], attempts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train import WorkerGroupError

    from jobs import train

    settings = train_settings(tmp_path, tmp_path, tmp_path, over={"run.max_failures": 2})
    monkeypatch.setattr("ray.train.torch.TorchTrainer", LosingTrainer)
    monkeypatch.setattr(placement, "claimed", lambda run, local: {"CPU": 1.0})
    monkeypatch.setattr(LosingTrainer, "attempts", [])
    monkeypatch.setattr(LosingTrainer, "steps", steps)
    monkeypatch.setattr(LosingTrainer, "folder", str(tmp_path / "run"))
    with pytest.raises(WorkerGroupError):
        train.fit(bind(TrainJob, settings))
    assert len(LosingTrainer.attempts) == attempts
