"""What a training asks of the cluster: how many workers, and what each of them gets.

Owns the check that there is enough of it, and the elastic range. Which processes a lost one is replaced by is Ray
Train's, when they are started again `jobs.train`'s.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffusion_perception.train_job import RunConfig
from jobs import cluster
from shards.errors import ConfigError

if TYPE_CHECKING:
    from ray.train import ScalingConfig

INTERVAL = "elastic_resize_monitor_interval_s"  # of Ray Train: how often it looks whether more workers fit


def claimed(run: RunConfig, local: bool) -> dict[str, float]:
    """What each worker asks of the cluster, which this joins and finds to have enough of it free, for the fewest."""
    name = "run.min_workers" if run.min_workers else "run.workers"
    asked = run.cpus_per_worker, run.gpus_per_worker
    return cluster.claim_workers(run.fewest, *asked, "training worker(s)", local=local, name=name, section="run.")


def scaling(run: RunConfig, resources: dict[str, float]) -> ScalingConfig:
    """As many workers as the settings say, or as fit between the two numbers of an elastic run.

    Raises:
        ConfigError: an elastic run, and a Ray that is too old for one.
    """
    from ray import __version__
    from ray.train import ScalingConfig

    asked: dict[str, Any] = {"use_gpu": "GPU" in resources, "resources_per_worker": resources}
    if run.fewest == run.workers:
        return ScalingConfig(num_workers=run.workers, **asked)
    if INTERVAL not in {field.name for field in fields(ScalingConfig)}:
        raise ConfigError(f"run.min_workers needs Ray 2.60, here is {__version__}. Leave it out, or install that one.")
    return ScalingConfig(num_workers=(run.fewest, run.workers), **{INTERVAL: run.grow_every_s}, **asked)
