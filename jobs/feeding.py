"""How many CPUs and threads feed an encoder: chosen from the cluster where the settings do not say, and said.

The figures are `benchmarks.build`'s, of photographs of 640 x 480 (docs/methods/performance.md#building); a preset whose
pictures cost more says how many CPUs it needs. Without a GPU the number stays what it was in every set so far: the last
bit of a latent that a CPU computes depends on the threads that torch has.
"""

from __future__ import annotations

import math

from diffusion_perception.building.builder import BUILDS_AT_ONCE, CPUS_WITHOUT_GPU, BuildJob
from diffusion_perception.settings import replaced
from pipeline.building.recipe import LEAST_DECODE_THREADS
from shards.errors import ConfigError

CPU_MS = 7.0  # of a picture beside the encoder, everything included
# At 400 pictures a second, the most that one GPU was estimated to encode, 2.8 are busy and one waits for the GPU. Of 4
# the encoder is kept busy for 94 % of the time, of 5 for 97, of 6 for 98 (`benchmarks.build_pace`).
ENOUGH_CPUS = 6


def fed(job: BuildJob) -> BuildJob:
    """The job with CPUs and decoding threads in numbers. ConfigError: the cluster has no node with a CPU."""
    import ray

    cpus = job.resources.cpus_per_actor
    if not cpus:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus = cpus_for(nodes, job.resources.gpus_per_actor)
    threads = job.settings.decode_threads or threads_for(cpus)
    return replaced(job, {"resources.cpus_per_actor": cpus, "settings.decode_threads": threads})


def threads_for(cpus: float) -> int:
    """Decoding threads of an actor."""
    return max(LEAST_DECODE_THREADS, math.ceil(2 * cpus))


def cpus_for(nodes: list[dict[str, float]], gpus: float) -> float:
    """CPUs of an actor: its share of the node that has fewest for each GPU, up to what feeds one.

    Args:
        gpus: of an actor; -1: one if there are any.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0.0) > 0]
    if gpus and with_gpus:
        share = 1.0 if gpus < 0 else gpus
        per_gpu = min(node.get("CPU", 0.0) / node["GPU"] for node in with_gpus)
        return float(max(1, min(math.floor(per_gpu * share), math.ceil(ENOUGH_CPUS * share))))
    most = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    if most < 1:
        raise ConfigError("no node of the cluster has a CPU to give; start one with `ray start --num-cpus=N`")
    return float(min(CPUS_WITHOUT_GPU, math.floor(most)))


def words(job: BuildJob, actors: int, gpus: float) -> str:
    """What the actors have, and what that supplies."""
    cpus = job.resources.cpus_per_actor
    beside = f" and {gpus:g} GPU" if gpus else ""
    writing = f"{BUILDS_AT_ONCE} shards at once with a writing thread each"
    if job.resources.render_workers:
        decoding = (
            f"{writing}; {job.settings.decode_threads} decoding threads for what render workers do not do, which is "
        )
        decoding += "to bring a set up to date"
    else:
        supplied = f"enough for about {1e3 * cpus / CPU_MS:.0f} pictures/s of 640 x 480 an actor"
        decoding = f"{job.settings.decode_threads} decoding threads, {writing}; {supplied}"
    names = "resources.cpus_per_actor, settings.decode_threads"
    return f"{actors} encoder actor(s) of {cpus:g} CPU{beside} each: {decoding} ({names})"
