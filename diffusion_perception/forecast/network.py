"""A run's network on the meta device: made by the run's own functions, without a weight, and tried on a batch's shapes.

Owns what cannot be assembled and why. The config of the backbone is what its facts know (a folder, the local cache of
the hub, or an assumption that is stated); the hub itself is not asked. Counting is `vpd.training.memory.activations`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins
from diffusion_perception.assembly.network import HEAD, build_around, head_spec, said_width
from diffusion_perception.forecast import unbuilt
from shards.errors import ConfigError

if TYPE_CHECKING:
    from diffusion_perception.forecast.sets import Sets
    from diffusion_perception.train_job import TrainJob
    from vpd.backbones import BackboneFacts
    from vpd.model.perception import Perception
    from vpd.tasks import Task


def assembled(job: TrainJob, task: Task, facts: BackboneFacts, found: Sets) -> tuple[Perception | None, str]:
    """The network on the meta device, or None and why not; then its options are at least bound.

    Raises:
        ConfigError: settings, backbone, task and sets do not fit each other.
    """
    import torch

    module, options = plugins.bind_plugin(plugins.BACKBONES, job.backbone, "backbone")
    given = task.head_options(found.table[0] if found.table else None)
    plugins.bind_plugin(plugins.HEADS, head_spec(task, job.model.head), HEAD, n_positional=1, given=given)
    name = job.backbone["name"]
    if not facts.config or not hasattr(module, "from_config"):
        return None, f"not assembled: backbone {name} has no config to make it of without its weights"
    if facts.assumed and not _as_assumed(facts, found):
        return None, f"not assembled: the sets are of another model than was assumed ({facts.assumed})"
    options = {key: value for key, value in options.items() if key not in ("model", "revision")}
    try:
        with torch.device("meta"):
            rows = torch.empty(found.table) if found.table else None
            backbone, said = module.from_config(facts.config, **options), said_width(job, found.schema)
            return build_around(backbone, job, task, found.tokens, rows, said), ""
    except (RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"the network of these settings cannot be made: {_first_line(error)}. Look at the sizes in backbone, "
            "model.head and model.prompts."
        ) from error


def activation_bytes(job: TrainJob, task: Task, model: Perception, found: Sets, *, dry: bool) -> dict[str, int | None]:
    """Bytes that a step keeps for backward on one worker, by precision; empty without a sample.

    Args:
        dry: count every precision the run may have, and not the first alone, which shows that the network runs.

    Raises:
        ConfigError: the network does not run on such a batch.
    """
    from vpd.training.memory.activations import saved_bytes

    share = _largest_share(job)
    passing, of_run = min(share, job.data.micro_batch_size or share), precisions(job)
    return _counted(task, model, found, passing, saved_bytes, of_run if dry else of_run[:1])


def peak_bytes(job: TrainJob, task: Task, model: Perception, found: Sets) -> dict[str, int | None]:
    """Bytes that a step holds at once on one worker, likewise: everything but frozen encoders.

    Raises:
        ConfigError: the network does not run on such a batch.
    """
    from vpd.training.memory import step_memory

    count = partial(
        step_memory.peak_bytes,
        ema_decay=job.optim.ema_decay,
        micro_batch=job.data.micro_batch_size,
        summed_apart=job.run.world > 1,
        gradients_beside=not job.loop.exchange.bucket_view,
        shared_by=moment_shares(job),
    )
    return _counted(task, model, found, _largest_share(job), count, precisions(job))


def moment_shares(job: TrainJob) -> int:
    """Workers that share AdamW's moments out, where as many are lost as may be; 1: each keeps all."""
    return job.run.fewest if job.optim.sharded else 1


def _largest_share(job: TrainJob) -> int:
    """Samples of a batch on one worker, where as many are lost as may be."""
    return -(-job.data.batch_size // job.run.fewest)


def _counted(
    task: Task,
    model: Perception,
    found: Sets,
    samples: int,
    count: Callable[..., int | None],
    of_run: Sequence[str],
) -> dict[str, int | None]:
    """A count of what a step does with so many samples, by precision."""
    sample = found.sample
    if sample is None:
        return {}
    view_px = model.backbone.facts.latents.size_px(*sample.latents.shape[-2:])
    learned: Any = task if found.train else unbuilt.WithoutLabels(view_px)
    try:
        return {name: count(model, learned, sample, samples, bfloat16=name == "bfloat16") for name in of_run}
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ConfigError(
            f"the network does not run on {samples} sample(s) a worker with latents of "
            f"{list(sample.latents.shape[1:])}: {_first_line(error)}"
        ) from error


def _as_assumed(facts: BackboneFacts, found: Sets) -> bool:
    """Whether the sets have the sizes that were assumed of a backbone, as far as they say."""
    held: Mapping[str, tuple[int | str, ...]] = {field.name: field.shape for field in found.schema.fields}
    widths = {held["text"][-1] if "text" in held else None, found.table[-1] if found.table else None}
    return held["latent"][1] == facts.latents.channels and widths <= {None, facts.context_width}


def gpus_of_worker(job: TrainJob) -> float:
    """Below 0 where only the workers know whether they have any."""
    import torch

    return job.run.gpus_per_worker if job.run.workers else float(torch.cuda.is_available())


def precisions(job: TrainJob) -> tuple[str, ...]:
    """That of the run, or both where only its workers know whether they have GPUs."""
    if job.loop.precision != "auto":
        return (job.loop.precision,)
    gpus = gpus_of_worker(job)
    return ("float32",) if gpus == 0 else ("bfloat16",) if gpus > 0 else ("bfloat16", "float32")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
