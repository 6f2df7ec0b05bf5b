"""The actors of a build, those that encode and those that render for them: placed, started, and given the source.

The first encoder is started before the driver reads the source, so that it imports its libraries and loads its weights
meanwhile; render workers last of all, where there is room beside the encoders, which alone fit the nodes with an
accelerator. Owns this and the actors' ends; what an actor does is `jobs.encoder_actor`'s, which shard it builds
`jobs.dispatch`'s, how many CPUs it has `jobs.feeding`'s.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from diffusion_perception import settings
from diffusion_perception.building.builder import BUILDS_AT_ONCE, BuildJob, Resources
from jobs import cluster, feeding
from jobs.encoder_actor import EncoderActor
from jobs.render_actor import RenderActor
from pipeline.example import Source
from shards.errors import ContractError

WHAT, RENDERING = "encoder actor(s)", "render worker(s)"


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
        self._renderers: list[Any] = []

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
        if held:  # it has its resources, and is not counted twice
            ray.get(self._handles[0].progress.remote())
        n_actors, gpus = cluster.claim_actors(job.resources, n_shards, WHAT, held=held)
        self._check_renderers(job, n_actors - held)
        print(f"[build] {feeding.words(job, n_actors, gpus)}", flush=True)
        for line in rendering_words(job.resources):
            print(f"[build] {line}", flush=True)
        self._start(job, n_actors - held, gpus)
        self._start_renderers(job)
        if getattr(source, "travels", False):  # sent once a node, not once an actor
            read = ray.put(source)
            ray.get([handle.take.remote(read) for handle in (*self._handles, *self._renderers)])
        return job, self._handles

    def _check_renderers(self, job: BuildJob, n_more: int) -> None:
        asked = job.resources
        if asked.render_workers:
            beside = {"CPU": n_more * asked.cpus_per_actor}
            each = {"CPU": 1.0, **asked.render_resources}
            cluster.check_free(each, asked.render_workers, RENDERING, _asked_for_rendering(asked), beside=beside)

    def _start_renderers(self, job: BuildJob) -> None:
        if not job.resources.render_workers:
            return
        import ray

        cluster.wait_for_start([handle.progress.remote() for handle in self._handles], WHAT)
        # Started again for as long as there is a node for it; what it was asked for, the encoders ask others for.
        options: dict[str, Any] = {"num_cpus": 1, "resources": dict(job.resources.render_resources), "max_restarts": -1}
        actor, plain = ray.remote(**options)(RenderActor), settings.to_plain(job)
        self._renderers += [actor.options(name=name).remote(plain) for name in _names(job.resources)]
        cluster.wait_for_start([worker.ready.remote() for worker in self._renderers], RENDERING)

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
        device, renderers = "cuda" if gpus else "cpu", _names(job.resources)
        started: list[Any] = [actor.remote(plain, device, renderers) for _ in range(number)]
        self._handles += started
        for handle in started:
            handle.load_encoders.remote()

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        if started := [*self._handles, *self._renderers]:
            import ray

            for handle in started:
                ray.kill(handle)


def _names(resources: Resources) -> list[str]:
    """Of the render workers, in the namespace of this job: known to encoders that start, or start again, before they
    do."""
    return [f"renderer {number}" for number in range(resources.render_workers)]


def _asked_for_rendering(resources: Resources) -> str:
    """The settings of render workers as they are typed."""
    placed = f" resources.render_resources={dict(resources.render_resources)}" if resources.render_resources else ""
    return f"resources.render_workers={resources.render_workers}{placed}"


def rendering_words(resources: Resources) -> list[str]:
    """Who decodes and renders, where the encoder actors do not."""
    number = resources.render_workers
    placed = ", ".join(f"{amount:g} {name}" for name, amount in resources.render_resources.items())
    beside = f" and {placed}" if placed else ""
    return [f"{number} {RENDERING} of 1 CPU{beside} each decode and render for them"] if number else []
