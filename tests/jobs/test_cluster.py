"""Joining a cluster: what this machine cannot give is said before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
