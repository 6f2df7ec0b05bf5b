"""Makers of a set beside another, as actors of a cluster: each with its model loaded once, a shard at a time.

Owns which workers they get and the hand-over; what they make is `diffusion_perception.baking.maker`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from diffusion_perception import settings
from diffusion_perception.baking.bake import Shard, bake
from diffusion_perception.baking.maker import Kind, Maker, SetJob, open_source
from jobs import cluster


class SpreadJob(SetJob, Protocol):
    """What the settings of a job say of its workers, too."""

    @property
    def workers(self) -> int: ...
    @property
    def cpus_per_worker(self) -> float: ...
    @property
    def gpus_per_worker(self) -> float: ...


class _Actor:
    """A maker on a worker."""

    def __init__(self, maker: type[Any], job: type[Any], plain: dict[str, Any]) -> None:
        self._maker: Maker = maker(settings.bind(job, plain))

    def described(self) -> tuple[dict[str, Any], Any]:
        return self._maker.described()

    def bake(self, recipe: dict[str, Any], shard: Shard) -> tuple[Shard, Any]:
        self._maker.check(recipe)
        return shard, self._maker.bake(shard.number, shard.name)


def spread(kind: Kind, job: SpreadJob, maker: type[Any], *, local: bool) -> None:
    """Make the set with actors.

    Args:
        maker: class of a `Maker`, which takes the job.

    Raises:
        ConfigError: no cluster, or too few free resources.
    """
    import ray
    from ray.util import ActorPool

    number = min(job.workers, len(open_source(job).manifest.shards))
    asked = job.cpus_per_worker, job.gpus_per_worker
    each = cluster.claim_workers(number, *asked, "baking worker(s)", local=local)
    options: dict[str, Any] = {"num_cpus": each["CPU"], "num_gpus": each.get("GPU")}
    actor = ray.remote(**options, max_restarts=3, max_task_retries=3)(_Actor)
    actors: list[Any] = [actor.remote(maker, type(job), settings.to_plain(job)) for _ in range(number)]

    def over_actors(todo: Sequence[Shard]) -> Iterator[tuple[Shard, Any]]:
        pool: Any = ActorPool(actors)
        yield from pool.map_unordered(lambda one, shard: one.bake.remote(described[0], shard), list(todo))

    try:
        described: Any = ray.get(actors[0].described.remote())
        bake(kind, job, described, over_actors)
    finally:  # their resources are free for whoever tries again
        for one in actors:
            ray.kill(one)
