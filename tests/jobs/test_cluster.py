"""Joining a cluster: what this machine cannot give is said before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import Any

import pytest

from diffusion_perception.building.builder import Resources
from diffusion_perception.predicting.job import Spread
from jobs import cluster
from shards.errors import ConfigError


def test_a_private_cluster_of_more_cpus_than_there_are_is_refused_before_ray_is_imported() -> None:
    code = (
        "import sys\n"
        "from jobs import cluster\n"
        "from shards.errors import ConfigError\n"
        "try:\n    cluster.connect(True, 5000, 'run.workers=5 run.cpus_per_worker=1000')\n"
        "except ConfigError as error:\n    print(error)\n"
        "print('ray' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, ray_loaded = ran.stdout.splitlines()
    assert message.startswith(
        f"run.workers=5 run.cpus_per_worker=1000 asks for 5000 CPUs, and this machine has {os.cpu_count()}"
    )
    assert "run.cpus_per_worker=1" in message.split(".", 1)[1]
    assert ray_loaded == "False"


def test_an_address_where_nothing_listens_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS is '127.0.0.1:1'.*ray start --head"):
        cluster.connect()


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray says of two nodes of 4 CPUs and a GPU, one of which is gone; nothing of it is in use."""
    node = {"CPU": 4.0, "GPU": 1.0}
    nodes = [{"Alive": True, "Resources": node}, {"Alive": True, "Resources": node}]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    total = {"CPU": 8.0, "GPU": 2.0}
    said = {"nodes": nodes, "cluster_resources": total, "available_resources": total}
    fake = types.SimpleNamespace(**{name: (lambda value=value: value) for name, value in said.items()})
    monkeypatch.setitem(sys.modules, "ray", fake)


@pytest.mark.usefixtures("two_nodes")
def test_a_process_larger_than_any_node_is_refused_and_does_not_wait_for_ever() -> None:
    with pytest.raises(
        ConfigError, match=r"no node is large enough for 1 worker\(s\) of 8 CPU: the nodes have 4 CPU; 4"
    ):
        cluster.check_free({"CPU": 8}, 1, "worker(s)", "run.cpus_per_worker=8")
    cluster.check_free({"CPU": 4}, 2, "worker(s)", "run.cpus_per_worker=4")


@pytest.mark.usefixtures("two_nodes")
def test_actors_are_one_for_each_gpu_and_none_is_claimed_where_none_is_used() -> None:
    assert cluster.claim_actors(Resources(cpus_per_actor=2), 9, "actor(s)") == (2, 1.0)
    assert cluster.claim_actors(Resources(cpus_per_actor=2, gpus_per_actor=0.5), 9, "actor(s)") == (4, 0.5)
    assert cluster.claim_actors(Resources(cpus_per_actor=2), 9, "actor(s)", gpu=False) == (1, 0.0)
    with pytest.raises(ConfigError, match=r"not enough free resources for 3 actor\(s\) of 4 CPU, 1 GPU.*CPU: needs 12"):
        cluster.claim_actors(Resources(actors=3, cpus_per_actor=4), 9, "actor(s)")


@pytest.mark.usefixtures("two_nodes")
def test_workers_have_a_gpu_each_where_there_is_one_and_the_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cluster, "connect", lambda *given: joined.append(given))
    assert cluster.claim_workers(2, 2, -1, "worker(s)", local=True) == {"CPU": 2, "GPU": 1.0}
    assert cluster.claim_workers(2, 2, 0, "worker(s)", local=True) == {"CPU": 2}
    assert joined == [(True, 4, "workers=2 cpus_per_worker=2")] * 2
    said = r"3 worker\(s\) of 4 CPU, 0.5 GPU.*run.fewest=3 run.cpus_per_worker=4 run.gpus_per_worker=0.5: lower these"
    with pytest.raises(ConfigError, match=said):
        cluster.claim_workers(3, 4, 0.5, "worker(s)", local=False, name="run.fewest", section="run.")


@pytest.mark.parametrize("gpus", [-2, 1.5, float("nan")])
def test_shares_of_gpus_that_ray_does_not_give_are_refused(gpus: float) -> None:
    for resources in (Resources, Spread):
        with pytest.raises(ConfigError, match="gpus_per_actor"):
            resources(gpus_per_actor=gpus)
