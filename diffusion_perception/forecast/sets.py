"""What a training run needs of its shard sets, read and checked before it starts.

Owns the comparison of a set's manifest, and of one sample, with task and settings. Whether two sets belong together is
`assembly.sets.check_sets`', whether a backbone can learn from one `assembly.fit`'s; what is assumed of a set that is
not there, `forecast.unbuilt`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception.assembly.network import context_tokens
from diffusion_perception.assembly.run import pixel_loader
from diffusion_perception.assembly.sets import CLASS_TABLE, check_sets, class_table, open_set, open_training_set
from shards.contract.manifest import Manifest
from shards.contract.schema import META, Schema
from shards.errors import ConfigError, SchemaMismatch

if TYPE_CHECKING:
    from diffusion_perception.train_job import TrainJob
    from shards.reading.reader import ShardSet
    from vpd.backbones import BackboneFacts
    from vpd.model.device_batch import DeviceBatch
    from vpd.tasks import Task


@dataclass(frozen=True)
class Sets:
    """A run's shard sets, as far as they are known before it starts.

    Attributes:
        schema: of the training set; one that suits the task where that is not there.
        tokens: of the context.
        table: shape of the class embeddings, [C, D] or [C, T, D]; None for a run without them.
        sample: a batch of one of the training set, without labels where that is not there; None if none was read.
        named: the setting -> the set, for those that are there.
        lacking: the setting -> why there is no set.
    """

    schema: Schema
    tokens: int
    table: tuple[int, ...] | None
    sample: DeviceBatch | None
    named: Mapping[str, ShardSet] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def train(self) -> ShardSet | None:
        return self.named.get("data.train")

    @property
    def val(self) -> ShardSet | None:
        return self.named.get("data.val")


def read_sets(job: TrainJob, task: Task, facts: BackboneFacts, *, fetch: bool) -> Sets:
    """The sets that a run names, checked against task and settings.

    Args:
        fetch: read a sample of a remote set, too, which brings one shard into the local cache.

    Raises:
        ContractError: what the run would be refused for, in the same words.
    """
    check_sets(job)
    named = {"data.train": open_training_set(job.data)}
    if job.data.val:
        named["data.val"] = open_set(job.data.val, job.data, job.data.val_subset)
    train = named["data.train"]
    rows, _ = class_table(job, task, train.manifest)
    for setting, shards in named.items():
        shards.check_sizes()  # before anything is started
        _check_fields(job, task, shards.manifest, setting)
        _check_classes(job, task, shards.manifest, None if rows is None else len(rows), setting)
    tokens = context_tokens(job, task, train.schema)
    load_pixels = pixel_loader(job, train.manifest) if job.data.latents == "online" else None
    sample = None
    if fetch or not train.folder.is_remote:
        sample = _one_sample(job, task, train, load_pixels, facts.context_width)
    if "data.val" in named and (fetch or not named["data.val"].folder.is_remote):
        _read_for_evaluation(job, task, named["data.val"])
    return Sets(train.schema, tokens, None if rows is None else rows.shape, sample, named)


def _check_fields(job: TrainJob, task: Task, manifest: Manifest, setting: str) -> None:
    """Every stored field that the task reads is in the set.

    Raises:
        SchemaMismatch: one is missing; the message lists those there are.
        ConfigError: text states are asked for where only token ids are stored.
    """
    from vpd.model.device_batch import VISION, text_fields

    schema = manifest.schema
    needed = ["latent", *task.label_fields, *([VISION] if job.model.vision.classes else [])]
    if task.uses_text:
        needed += text_fields(schema, job.data.text) or ["tokens"]
    held = [field.name for field in schema.fields]
    if missing := [name for name in needed if name not in held]:
        raise SchemaMismatch(
            f"{setting}: task {task.name} reads {', '.join(needed)} and {META} of a record, and {manifest.name} has no "
            f"{missing[0]}: it holds {', '.join(held)}. Name a set that was built for {task.name}, or the task it was "
            "built for (task.name)."
        )


def _check_classes(job: TrainJob, task: Task, manifest: Manifest, rows: int | None, setting: str) -> None:
    """The classes of a set are those that the run learns, as far as a set says how many it has.

    Args:
        rows: of the class table that the run uses; None if it uses none.

    Raises:
        ConfigError: another number of classes.
    """
    if not task.uses_classes:
        return
    stored = next((table.rows for table in manifest.tables if table.name == CLASS_TABLE), None)
    if task.names_classes and rows is not None and stored not in (None, rows):
        source = f"data.table={job.data.table}" if job.data.table else job.data.train
        raise ConfigError(
            f"the class table of {source} has {rows} rows, {setting} ({manifest.name}) was built with {stored} "
            "classes. Give a table of the set's own classes, or a set of these."
        )
    task.head_options(stored if rows is None else rows)  # with learned prompts, too, a task has the set's classes


def _one_sample(job: TrainJob, task: Task, shards: ShardSet, load_pixels: Any, context_width: int) -> DeviceBatch:
    """A batch of the set's first item, read as the run reads it; what is encoded online is zeros of its shape.

    Raises:
        ContractError: the set, the task or the reader's settings do not fit each other.
    """
    import torch

    from shards.reading.order import Order, order_of
    from shards.reading.stream import BatchStream
    from vpd.model.device_batch import VISION, DeviceBatch, text_fields

    data, seed = job.data, job.loop.seed
    fields = ("latent", *(text_fields(shards.schema, data.text) if task.uses_text else ()))
    if job.model.vision.classes:
        fields = (*fields, VISION)
    options: dict[str, Any] = {
        "batch_labels": task.batch_labels,
        "fields": fields,
        "draw_seed": seed,
        "draw": task.row_draw,
    }
    run_order = order_of(shards, seed=seed, window_shards=data.window_shards, fixed=data.order == "fixed")
    # Made and not read: its order and cache are looked at when it is made, and a shuffled read would fetch many shards.
    BatchStream(shards, run_order, batch_size=1, threads=data.threads, ahead=data.ahead, **options).close()
    with BatchStream(shards, Order(shards.n_items, seed, shuffle=False), batch_size=1, threads=0, **options) as stream:
        read = next(stream)
        if load_pixels is not None:
            load_pixels(read.sample(0))
        arrays = {name: torch.from_numpy(np.array(array)) for name, array in read.arrays.items()}
    latents = arrays.pop("latent").float()  # [1, C, h, w]
    text = arrays.pop("text").float() if "text" in arrays else None  # [1, L, D]
    if "tokens" in arrays:
        text = torch.zeros(1, arrays.pop("tokens").shape[1], context_width)  # [1, L, D]
    return DeviceBatch(latents, text, arrays)


def _read_for_evaluation(job: TrainJob, task: Task, shards: ShardSet) -> None:
    """Read the samples of a set's first record as evaluation does. ContractError if the set does not fit the task."""
    from vpd.model.device_batch import text_fields

    task.samples(shards.record(0), *(text_fields(shards.schema, job.data.text) if task.uses_text else ()))
