"""The shard sets of a training run: opened, mixed, and made sure to go together.

Owns what `data` names: sets, some records of them, their mixture, their class table. Whether a backbone can learn from
a set is `fit`'s, what a forecast asks of it besides `diffusion_perception.forecast.sets`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusion_perception.assembly import fit
from diffusion_perception.assembly.companions import backbone_facts
from diffusion_perception.assembly.parts import build_task
from shards.contract.manifest import Manifest, recipe_difference
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    import numpy as np

    from diffusion_perception.train_job import TrainJob
    from shards.reading.reader import ShardSet
    from vpd.tasks import Task
    from vpd.training.selection import SubsetConfig
    from vpd.training.settings import DataConfig

CLASS_TABLE = "classes"  # name of a set's table of class embeddings (pipeline.prompts.class_table)


def open_set(url: str, data: DataConfig, subset: SubsetConfig | None = None) -> ShardSet:
    """A shard set, or some records of one; if it is remote, through the configured cache, which all workers of a node
    share.
    """
    from shards.reading.reader import ShardSet
    from shards.reading.subset import subset_of
    from shards.storage.cache import CacheConfig

    cache = CacheConfig(data.cache_dir, max_bytes=int(data.cache_gb * 1e9)) if "://" in url else None
    whole = ShardSet.open(url, cache=cache, storage_options=data.storage, index_bytes=int(data.index_mb * 2**20))
    chosen = subset.read() if subset else None
    return whole if chosen is None or chosen.is_all else subset_of(whole, chosen.records(whole))


def open_training_set(data: DataConfig) -> ShardSet:
    """What a run trains on: `data.train`, its subset, or the mixture that it is part of.

    Raises:
        ContractError: sets that cannot be mixed, or a subset that is none.
    """
    from shards.reading.joined import JoinedSet

    train = open_set(data.train, data, data.subset)
    if not data.mix.sets:
        return train
    others = [open_set(one.set, data, one.subset) for one in data.mix.sets]
    return JoinedSet([train, *others], data.mix.mixing())


def training_manifest(data: DataConfig) -> Manifest:
    """The manifest of what a run trains on, as far as it is known without an index: of whole sets."""
    from shards.reading.joined import joined_manifest

    train = Manifest.load(data.train, data.storage)
    others = [Manifest.load(one.set, data.storage) for one in data.mix.sets]
    return joined_manifest([train, *others], data.mix.mixing()) if others else train


def check_sets(job: TrainJob) -> Manifest:
    """Read the manifests a run needs and make sure that sets and backbone fit together; returns the training set's.

    Raises:
        IncompleteSet: a set is not there or was never finished, or lacks the classes that the task needs.
        FingerprintMismatch: training and validation set were encoded differently, or not as the backbone needs.
        ConfigError: latents, text or classes of other sizes than the backbone's.
    """
    from shards.reading.joined import SAME_ENCODERS
    from vpd.tasks import Scored

    train = training_manifest(job.data)
    task, facts = build_task(job), backbone_facts(job.backbone)
    fit.check_set(job, task, facts, train, "data.train")
    rows, _ = class_table(job, task, train)
    if rows is not None:
        fit.check_class_rows(job, facts, rows.shape)
    if job.data.val:
        if not isinstance(task, Scored):
            raise ConfigError(f"task {task.name} has no scores, so nothing can be evaluated: leave data.val empty.")
        val = Manifest.load(job.data.val, job.data.storage)
        fit.check_set(job, task, facts, val, "data.val")
        apart = [line for line in recipe_difference(train.recipe, val.recipe) if line.startswith(SAME_ENCODERS)]
        if apart:
            raise FingerprintMismatch(
                f"data.train ({train.name}) and data.val ({val.name}) were built differently:\n  "
                + "\n  ".join(apart)
                + "\nBuild both with the same configuration."
            )
    return train


def class_table(job: TrainJob, task: Task, manifest: Manifest) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Class embeddings and names a task asks for: data.table if it is set, else the table stored in the training set.

    Raises:
        IncompleteSet: the set has no such table; the message says how to make one.
    """
    from shards.contract.tables import load_table, read_table
    from shards.errors import IncompleteSet
    from shards.storage.storage import open_folder

    if not task.uses_classes or job.model.prompts.count or job.model.vision.classes:
        return None, ()
    if job.data.table:
        arrays, info = load_table(job.data.table)
        return arrays["embeddings"], tuple(info["names"])
    stored = next((table for table in manifest.tables if table.name == CLASS_TABLE), None)
    if stored is None:
        raise IncompleteSet(
            f"task {task.name} needs class embeddings, and {manifest.name} was built without `prompts`. Make a "
            "table with jobs/build_prompts.py and name it in data.table, or rebuild the set with prompts."
        )
    arrays, info = read_table(open_folder(job.data.train, storage_options=job.data.storage), stored)
    return arrays["embeddings"], tuple(info["names"])
