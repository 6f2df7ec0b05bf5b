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
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_perception.actors import Actors
from diffusion_perception.places import PACKAGE, in_uploaded_directory
from shards.errors import ConfigError

CODE = PACKAGE.parent  # what a worker's path must hold
WAIT_S = 20.0  # for a job that is just ending
LATE_S = 60.0  # between two words about processes that do not start


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


def check_free(
    each: Mapping[str, float],
    number: int,
    what: str,
    words: str,
    wait_s: float | None = None,
    held: int = 0,
    beside: Mapping[str, float] | None = None,
) -> None:
    """Make sure the cluster has what a job asks for, free, now.

    Args:
        each: resources of one process by Ray's names, e.g. {"CPU": 4, "GPU": 0.5}; a process lies on one node.
        number: of processes.
        what: what they are, for the message.
        words: the settings that ask for them, as they are typed.
        wait_s: how long to wait for a job that is just ending to give its resources back; as a rule `WAIT_S`.
        held: how many of the processes run already.
        beside: what the job will take besides.

    Raises:
        ConfigError: the cluster is too small, no node can hold one, or others hold what is needed.
    """
    import ray

    total, nodes = ray.cluster_resources(), [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needed = {name: amount * number + (beside or {}).get(name, 0.0) for name, amount in each.items()}
    asked = f"{number} {what} of " + ", ".join(f"{amount:g} {name}" for name, amount in each.items())
    if not any(all(node.get(k, 0.0) >= v for k, v in each.items()) for node in nodes):
        largest = "; ".join(", ".join(f"{node.get(k, 0):g} {k}" for k in each) for node in nodes)
        raise ConfigError(
            f"no node is large enough for {asked}: the nodes have {largest}. They come from {words}: lower what each "
            "asks for, or add a larger node."
        )
    short = {k: v for k, v in needed.items() if v > total.get(k, 0.0)}
    if not short:
        deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
        while True:
            free = ray.available_resources()
            short = {k: v for k, v in needed.items() if v > free.get(k, 0.0) + held * each[k]}
            if not short:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
    free = ray.available_resources()
    lines = [f"{k}: needs {v:g}, cluster has {total.get(k, 0):g}, free {free.get(k, 0):g}" for k, v in needed.items()]
    if beside:
        lines.append(", ".join(f"{v:g} {k}" for k, v in beside.items() if v) + " of it for the job's other processes")
    if held:
        lines.append(f"{held} run already")
    raise ConfigError(
        f"not enough free resources for {asked}: " + "; ".join(lines) + f". They come from {words}: lower these, wait "
        "for other jobs (`ray status`), or add nodes."
    )


def claim_actors(
    resources: Actors,
    most: int,
    what: str,
    *,
    gpu: bool = True,
    wait_s: float | None = None,
    held: int = 0,
) -> tuple[int, float]:
    """How many actors a job has, and GPUs of each: one actor per GPU if the job does not say.

    Args:
        most: how many have anything to do.
        what: what they are, for messages.
        gpu: they use one where there is one.
        wait_s, held: as of `check_free`.

    Raises:
        ConfigError: as of `check_free`.
    """
    import ray

    gpus = float(has_gpus()) if resources.gpus_per_actor < 0 else resources.gpus_per_actor
    gpus = gpus if gpu else 0.0
    per_cluster = int(ray.cluster_resources().get("GPU", 0) / gpus) if gpus else 1
    number = min(resources.actors or per_cluster, most) or 1
    words = f"resources.actors={number} resources.cpus_per_actor={resources.cpus_per_actor:g}"
    words += f" resources.gpus_per_actor={gpus:g}" if gpus else ""
    each = {"CPU": resources.cpus_per_actor, **({"GPU": gpus} if gpus else {})}
    check_free(each, number, what, words, wait_s, held)
    return number, gpus


def wait_for_start(answers: Sequence[Any], what: str) -> None:
    """Until processes that were just started answer. Free resources were counted over all nodes; that no single one
    has room for a process is said again and again, since Ray waits for ever.

    Args:
        answers: of each one.
        what: they are, for the message.
    """
    import ray

    waiting = list(answers)
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=LATE_S)
        if waiting:
            print(
                f"[ray] {len(waiting)} of {len(answers)} {what} have not started yet; `ray status` says whether a node "
                "has room for them",
                flush=True,
            )
    ray.get(list(answers))


def claim_workers(
    number: int, cpus: float, gpus: float, what: str, *, local: bool, name: str = "workers", section: str = ""
) -> dict[str, float]:
    """What each worker asks of the cluster, which this joins and finds to have enough of it free.

    Args:
        cpus, gpus: of each; -1 GPUs: one where there is one.
        what: what they are, for messages.
        name, section: settings that they come from, for messages, such as `run.min_workers` and `run.`.

    Raises:
        ConfigError: no cluster, or as of `check_free`.
    """
    words = f"{name}={number} {section}cpus_per_worker={cpus:g}"
    connect(local, number * cpus, words)
    gpus = gpus if gpus >= 0 else float(has_gpus())
    each = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    check_free(each, number, what, f"{words} {section}gpus_per_worker={gpus:g}" if gpus else words)
    return each


def has_gpus() -> bool:
    """Whether any node of the cluster has a GPU."""
    import ray

    return ray.cluster_resources().get("GPU", 0.0) > 0
