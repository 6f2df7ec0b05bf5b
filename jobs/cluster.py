"""Joining a Ray cluster, and refusing early what would otherwise hang or vanish.

Owns three checks every job makes before it does any work: there is a cluster, it has enough FREE resources (Ray itself
would wait for ever), and data paths mean the same place on every node (a relative path under an uploaded working
directory is a temporary folder; ray.md section 1.2).
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import ray

from shards.errors import ConfigError, ContractError

REPOSITORY = Path(__file__).resolve().parent.parent


def connect(local: bool = False) -> None:
    """Join the running cluster, or with `local` start a private one that ends with this process.

    Raises:
        ConfigError: there is no cluster to join.
    """
    if ray.is_initialized():
        return
    environment: dict[str, Any] = {}
    if not in_uploaded_directory():  # an uploaded directory is on every worker's path already
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
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


def _knock(address: str) -> None:
    """OSError if nothing listens at an explicit host:port; Ray itself would try again for a minute and then abort."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def check_free(needed: Mapping[str, float], what: str, wait_s: float = 20.0) -> None:
    """Make sure the cluster has what a job asks for, free, now.

    Args:
        needed: total resources by Ray's names, e.g. {"CPU": 4, "GPU": 2}.
        what: what they are for, for the message.
        wait_s: how long to wait for a job that is just ending to give its resources back.

    Raises:
        ConfigError: the cluster is too small, or others hold what is needed.
    """
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
        f"not enough free resources for {what}: " + "; ".join(lines) + ". Ask for fewer workers or smaller ones "
        "(the resources settings), wait for other jobs (`ray status`), or add nodes."
    )


def has_gpus() -> bool:
    """Whether any node of the cluster has a GPU."""
    return ray.cluster_resources().get("GPU", 0.0) > 0


def in_uploaded_directory() -> bool:
    """Whether this process runs in a copy of the repository that `--working-dir` sent to the cluster."""
    parts = REPOSITORY.parts
    return "working_dir_files" in parts or "_ray_pkg_" in str(REPOSITORY)


def resolve_path(path: str, setting: str) -> str:
    """A data path as every node will see it: URLs and absolute paths stay, relative ones start at the repository.

    Raises:
        ConfigError: a relative path while running from an uploaded working directory, where it would be lost.
    """
    if not path or "://" in path or os.path.isabs(path):
        return path
    if path.startswith("~"):
        return os.path.expanduser(path)
    if in_uploaded_directory():
        raise ConfigError(
            f"setting '{setting}' is the relative path '{path}', but this job runs from an uploaded working directory, "
            "a temporary folder on the cluster. Give an absolute path or a URL that every node can reach, "
            f"e.g. {setting}=/data/{path}."
        )
    return str(REPOSITORY / path)


def resolve_model(model: str) -> str:
    """A model as every worker finds it: a folder of this repository by its absolute path, a hub id as it is."""
    folder = REPOSITORY / model
    return str(folder) if model and folder.is_dir() else model


def located(plugin: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A plug-in's options with its data folder (`root`) and its model made absolute."""
    options = dict(plugin)
    if "root" in options:
        options["root"] = resolve_path(str(options["root"]), f"{where}.root")
    if "model" in options:
        options["model"] = resolve_model(str(options["model"]))
    return options


def main(module: str) -> NoReturn:
    """Run a job file as a program; a known error is one clear message and exit status 1.

    The job runs under its module's name and not as `__main__`, so that workers can import what it sends them.
    """
    from ray.exceptions import RayTaskError

    try:
        importlib.import_module(module).run(sys.argv[1:])
    except ContractError as error:
        _refuse(error)
    except RayTaskError as error:  # a worker's error arrives wrapped; what a person needs is its cause
        if not isinstance(error.cause, ContractError):
            raise
        _refuse(error.cause)
    sys.exit(0)


def _refuse(error: BaseException) -> NoReturn:
    print(f"\n{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    sys.exit(1)
