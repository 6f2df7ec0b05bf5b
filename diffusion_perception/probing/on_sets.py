"""A trial over shard sets: every probe of every layer learns from the same passes, then all are scored in one more.

Owns the two loops. Nothing of the training set is kept but what a probe keeps, so a set may be of any size; views,
labels and scores are the task's own, exactly as in training and evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception import plugins
from diffusion_perception.devices import chosen_device
from diffusion_perception.features.of_sets import seen_in
from diffusion_perception.probing.baked import views_of
from diffusion_perception.probing.job import ProbeJob
from diffusion_perception.probing.table import LIVE, Row
from diffusion_perception.torch_data.samples import RESERVED
from diffusion_perception.torch_data.streamed import SetStream
from shards.progress import reports
from shards.reading.reader import ShardSet
from shards.storage.cache import CacheConfig

if TYPE_CHECKING:
    import torch

    from diffusion_perception.features.reading import Features
    from diffusion_perception.features.seen import Seen
    from shards.reading.reader import StoredRecord
    from vpd.probes import Probe
    from vpd.tasks import Task
    from vpd.tasks.metric import Metric

LATENT, PLACE = "latent", "place"
AHEAD = 4  # records read ahead of the network
Place = tuple[int, int]  # record, and row of its views
See = Callable[["torch.Tensor", Sequence[Place]], "Seen"]  # of latents `[B, C, h, w]`, and where these are from


def opened(job: ProbeJob, url: str) -> ShardSet:
    """A set of the job."""
    return ShardSet.open(url, cache=_cache(job, url), storage_options=job.storage)


def probe_sets(job: ProbeJob, features: Features, timestep: float, prompt: str) -> list[Row]:
    """The rows of a trial by the model's own passes.

    Raises:
        ConfigError: settings, model and sets that do not fit each other.
    """

    def see(latents: torch.Tensor, places: Sequence[Place]) -> Seen:
        return seen_in(job, features, timestep, prompt, latents)

    return _rows(job, (see, see), features.network.device, Trialled(timestep, prompt))


def probe_baked(job: ProbeJob, name: str, timestep: float, prompt: str) -> list[Row]:
    """The rows of a trial of what was baked."""
    import torch

    device = torch.device(chosen_device(job.device))
    train, test = (
        views_of(job, opened(job, getattr(job, part)), opened(job, job.baked[name][part]), device).seen
        for part in ("train", "test")
    )
    return _rows(job, (train, test), device, Trialled(timestep, prompt, name))


@dataclass(frozen=True)
class Trialled:
    """What the rows of a trial are named by."""

    timestep: float
    prompt: str
    features: str = LIVE

    def __str__(self) -> str:
        baked = "" if self.features == LIVE else f", {self.features}"
        return f"t={self.timestep:g}, prompt {self.prompt!r}{baked}:"


def _rows(job: ProbeJob, see: tuple[See, See], device: torch.device, trial: Trialled) -> list[Row]:
    """Learned by what is seen of one set, and scored by what is seen of the other."""
    task: Task = plugins.build_plugin(plugins.TASKS, job.task, "task")
    probes, shapes = _learned(job, task, see[0], f"[probe] {trial}")
    metrics = _scored(job, task, see[1], probes, device, f"[probe] {trial}")
    return [
        Row(layer, trial.timestep, trial.prompt, name, *shapes[layer], metric.compute(), features=trial.features)
        for (layer, name), metric in metrics.items()
    ]


Probes = dict[tuple[str, str], "Probe"]  # by layer and name
Shapes = dict[str, tuple[int, tuple[float, float]]]  # channels and stride of every layer


def _learned(job: ProbeJob, task: Task, see: See, tag: str) -> tuple[Probes, Shapes]:
    from vpd.model.device_batch import DeviceBatch

    probes: Probes = {}
    shapes: Shapes = {}
    report = reports(tag, "steps")
    shards = opened(job, job.train)
    for step, batch in enumerate(_batches(job, task), 1):
        records = (shards.item(item).record for item in batch["item"].tolist())
        seen = see(batch[LATENT], list(zip(records, batch["row"].tolist(), strict=True)))
        labels = {
            name: values.to(seen.latents.device) for name, values in batch.items() if name not in (*RESERVED, LATENT)
        }
        given = DeviceBatch(seen.latents, None, labels)
        for layer, found in seen.items():
            channels = found.values.shape[1]
            shapes[layer] = channels, found.stride_px
            for name, spec in job.probes.items():
                if (layer, name) not in probes:
                    where, leading = f"probes.{name}", (channels, task, job.steps)
                    probes[layer, name] = plugins.build_plugin(plugins.PROBES, spec, where, *leading)
                probes[layer, name].learn(found.values, given, _view_px(seen))
        report(step, job.steps)
    return probes, shapes


def _batches(job: ProbeJob, task: Task) -> Iterator[Mapping[str, Any]]:
    """As many as there are steps, in the order of training."""
    stream = SetStream(
        job.train,
        job.batch_size,
        fields=(LATENT,),
        labels=task.labels,
        seed=job.seed,
        draw=task.row_draw,
        cache=_cache(job, job.train),
        storage_options=job.storage,
    )
    step = 0
    while step < job.steps:
        for batch in stream:
            yield batch
            step += 1
            if step == job.steps:
                return


def _scored(
    job: ProbeJob, task: Task, see: See, probes: Probes, device: torch.device, tag: str
) -> dict[tuple[str, str], Metric]:
    import torch

    from vpd.inference.packing import packed, read_ahead, rows_of
    from vpd.model.device_batch import DeviceBatch
    from vpd.tasks.metric import counting_on

    shards = opened(job, job.test)
    metrics: dict[tuple[str, str], Metric] = {key: counting_on(task.new_metric(), device) for key in probes}
    chosen = range(min(job.limit, shards.n_records) if job.limit else shards.n_records)
    report = reports(f"{tag} {shards.manifest.name},", "records")

    def read(index: int) -> tuple[tuple[StoredRecord, Any], Mapping[str, np.ndarray]]:
        record = shards.record(index)
        samples = task.samples(record)
        views = len(samples[LATENT])
        return (record, task.targets(record)), {**samples, PLACE: np.array([(index, row) for row in range(views)])}

    def answered(rows: list[dict[str, np.ndarray]]) -> list[dict[tuple[str, str], torch.Tensor]]:
        """What every probe says of every row."""
        arrays = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        places = [(record, view) for record, view in arrays.pop(PLACE).tolist()]
        seen = see(arrays.pop(LATENT), places)
        given = DeviceBatch(seen.latents, None, arrays)
        answers = {
            key: probe.answer(seen[key[0]].values, given, _view_px(seen)).float() for key, probe in probes.items()
        }
        return [{key: answer[place] for key, answer in answers.items()} for place in range(len(rows))]

    owners = ((owner, rows_of(samples)) for owner, samples in read_ahead(chosen, read, AHEAD))
    for done, ((record, targets), outputs) in enumerate(packed(owners, job.batch_size, answered), 1):
        for key, metric in metrics.items():
            stacked = torch.stack([output[key] for output in outputs])  # [V, C, h, w]
            task.score(metric, record, stacked, *(() if targets is None else (targets,)))
        report(done, len(chosen))
    return metrics


def _view_px(seen: Seen) -> tuple[int, int]:
    found = next(iter(seen.values()))
    height, width = (
        round(side * stride) for side, stride in zip(found.values.shape[-2:], found.stride_px, strict=True)
    )
    return height, width


def _cache(job: ProbeJob, url: str) -> CacheConfig | None:
    return CacheConfig(job.cache_dir, max_bytes=int(job.cache_gb * 1e9)) if "://" in url else None
