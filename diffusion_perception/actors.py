"""What a job may ask for its actors: the same three settings of a build and of a prediction on a cluster.

Owns what they may be. How many actors they make on a cluster is `jobs.cluster`'s.
"""

from __future__ import annotations

from typing import Protocol

from shards.errors import ConfigError


class Actors(Protocol):
    """See `diffusion_perception.building.builder.Resources`."""

    @property
    def actors(self) -> int: ...
    @property
    def gpus_per_actor(self) -> float: ...
    @property
    def cpus_per_actor(self) -> float: ...


def check_actors(asked: Actors, least_cpus: float = 0.001) -> None:
    """ConfigError: a number that Ray gives nobody. `least_cpus` is 0 where they may be left to choose."""
    gpus = asked.gpus_per_actor
    given = gpus == -1 or 0 <= gpus <= 1 or (gpus > 1 and float(gpus).is_integer())
    if asked.actors < 0 or not asked.cpus_per_actor >= least_cpus or not given:
        raise ConfigError(
            f"resources: actors {asked.actors}, cpus_per_actor {asked.cpus_per_actor:g}, gpus_per_actor {gpus:g}; "
            "expected no fewer than 0 actors, some CPU for each, and as gpus_per_actor -1 (one if there are any), a "
            "share from 0 to 1, or a whole number."
        )
