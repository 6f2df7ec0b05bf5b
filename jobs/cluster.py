"""Joining a Ray cluster, and refusing early what would otherwise hang or vanish.

Owns the checks every job makes before it does any work: there is a cluster, and it has enough FREE resources (Ray
itself would wait for ever). What a relative path means is `diffusion_perception.places`'. Ray is loaded where a cluster
is asked for something, so that a dry run does without it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from diffusion_perception.places import PACKAGE, in_uploaded_directory
from shards.errors import ConfigError

CODE = PACKAGE.parent  # what a worker's path must hold


def connect(local: bool = False, cpus: float = 0, words: str = "") -> None:
    """Join the running cluster, or with `local` start a private one that ends with this process.

    Args:
        cpus: what the job will need at least: a machine that cannot give as many is refused before Ray starts on it.
        words: the settings that ask for them, as they are typed.

    Raises:
        ConfigError: there is no cluster to join, or this machine is too small for a private one.
    """
    if local and cpus > (machine := os.cpu_count() or 1):
        raise ConfigError(
            f"{words} asks for {cpus:g} CPUs, and this machine has {machine}. Ask for less, e.g. "
            f"{words.split(' ')[-1].split('=')[0]}=1, or submit the job to a cluster."
        )
    import ray

    if ray.is_initialized():
        return
    if not sys.stdout.isatty():  # a log file shows the codes of colours, not the colours
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    environment: dict[str, Any] = {}
    if not in_uploaded_directory():  # an uploaded directory is on every worker's path already
        path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
        environment = {"env_vars": {"PYTHONPATH": path}}
    if local:
        # A private cluster listens on loopback only; without this Ray writes a token file into the home folder.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        ray.init(address="local", include_dashboard=True, runtime_env=environment)
        return
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        _knock(address)
        ray.init(address=address, runtime_env=environment)
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster found to run on (RAY_ADDRESS is {address!r}). Start one with `ray start --head` and "
            "submit this job with `ray job submit`, or add --local to run on this machine alone."
        ) from error
    if address == "auto":  # nobody named it: it may be a stranger's
        print(
            f"[ray] joined the cluster found on this machine, {ray.get_runtime_context().gcs_address}; "
            "RAY_ADDRESS=HOST:PORT names another, --local starts a private one",
            flush=True,
        )


def _knock(address: str) -> None:
    """OSError if nothing listens at an explicit host:port; Ray itself would try again for a minute and then abort."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def check_free(needed: Mapping[str, float], what: str, words: str, wait_s: float = 20.0) -> None:
    """Make sure the cluster has what a job asks for, free, now.

    Args:
        needed: total resources by Ray's names, e.g. {"CPU": 4, "GPU": 2}.
        what: what they are for, for the message.
        words: the settings that ask for them, as they are typed.
        wait_s: how long to wait for a job that is just ending to give its resources back.

    Raises:
        ConfigError: the cluster is too small, or others hold what is needed.
    """
    import ray

    total = ray.cluster_resources()
    short = {k: v for k, v in needed.items() if v > total.get(k, 0.0)}
    if not short:
        deadline = time.monotonic() + wait_s
        while True:
            free = ray.available_resources()
            short = {k: v for k, v in needed.items() if v > free.get(k, 0.0)}
            if not short:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
    free = ray.available_resources()
    lines = [f"{k}: needs {v:g}, cluster has {total.get(k, 0):g}, free {free.get(k, 0):g}" for k, v in needed.items()]
    raise ConfigError(
        f"not enough free resources for {what}: " + "; ".join(lines) + f". They come from {words}: lower these, wait "
        "for other jobs (`ray status`), or add nodes."
    )


def has_gpus() -> bool:
    """Whether any node of the cluster has a GPU."""
    import ray

    return ray.cluster_resources().get("GPU", 0.0) > 0
