"""The encoder actors of a build: placed, started, and given the source.

The first is started before the driver reads the source, so that it imports its libraries and loads its weights
meanwhile. Owns this and the actors' ends; what an actor does is `jobs.encoder_actor`'s, which shard it builds
`jobs.dispatch`'s, how many CPUs it has `jobs.feeding`'s.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from diffusion_perception import settings
from diffusion_perception.builder import BUILDS_AT_ONCE, BuildJob
from jobs import cluster, feeding
from jobs.encoder_actor import EncoderActor
from pipeline.example import Source
from shards.errors import ContractError

WHAT = "encoder actor(s)"


class EncoderPool:
    """A context: the actors are killed at its end, so that their resources are free at once.

    Args:
        job: settings, paths resolved; CPUs and threads are chosen once a cluster is known (`fed`).
        local: on a private cluster of this machine.
    """

    def __init__(self, job: BuildJob, local: bool) -> None:
        self._asked, self._local = job, local
        self._fed: BuildJob | None = None
        self._handles: list[Any] = []

    def begin(self) -> None:
        """Start the first actor, if the cluster has room for it now. If not, nothing is started and nothing said:
        `fill` does both, after whatever is wrong with the source has been said."""
        with suppress(ContractError):
            job = self._connected(1)
            _, gpus = cluster.claim_actors(job.resources, 1, WHAT, wait_s=0.0)
            self._start(job, 1, gpus)

    def fill(self, n_shards: int, source: Source) -> tuple[BuildJob, list[Any]]:
        """Start the others, as far as there are shards for them; the job as they have it, and all actors.

        Raises:
            ConfigError: no cluster, or too few free resources.
        """
        import ray

        job, held = self._connected(min(max(self._asked.resources.actors, 1), n_shards)), len(self._handles)
        if held and n_shards > 1:  # it has its resources, and is not counted twice
            ray.get(self._handles[0].progress.remote())
        n_actors, gpus = cluster.claim_actors(job.resources, n_shards, WHAT, held=held)
        print(f"[build] {feeding.words(job, n_actors, gpus)}", flush=True)
        self._start(job, n_actors - held, gpus)
        if getattr(source, "travels", False):  # sent once a node, not once an actor
            read = ray.put(source)
            ray.get([handle.take.remote(read) for handle in self._handles])
        return job, self._handles

    def _connected(self, n_actors: int) -> BuildJob:
        resources = self._asked.resources
        asked = f"resources.actors={resources.actors} resources.cpus_per_actor={resources.cpus_per_actor:g}"
        cluster.connect(self._local, n_actors * (resources.cpus_per_actor or 1), asked)
        self._fed = self._fed or feeding.fed(self._asked)
        return self._fed

    def _start(self, job: BuildJob, number: int, gpus: float) -> None:
        import ray

        # One thread more than builds: `progress` must answer while they work. A killed actor starts again by itself.
        options: dict[str, Any] = {"num_cpus": job.resources.cpus_per_actor, "num_gpus": gpus}
        options |= {"max_restarts": 3, "max_task_retries": 3, "max_concurrency": BUILDS_AT_ONCE + 1}
        actor = ray.remote(**options)(EncoderActor)
        plain = settings.to_plain(job)
        started: list[Any] = [actor.remote(plain, "cuda" if gpus else "cpu") for _ in range(number)]
        self._handles += started
        for handle in started:
            handle.load_encoders.remote()

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handles:
            import ray

            for handle in self._handles:
                ray.kill(handle)
