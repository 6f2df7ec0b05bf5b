"""From a training configuration to the objects a run is made of.

Owns the joints between the packages that may not know each other: which plug-ins a configuration names, and that sets
and network belong together. Which frozen encoder (`pipeline`) stands in for what a shard set does not store is
`diffusion_perception.companions`'. Imports torch only inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from diffusion_perception import fit, plugins
from diffusion_perception.companions import backbone_facts, build_encoders, check_label_decoder
from shards.contract.manifest import Manifest, recipe_difference
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from diffusion_perception.train_job import TrainJob
    from shards.contract.schema import Schema
    from shards.reading.reader import ShardSet
    from vpd.backbones import Backbone, BackboneFacts, FeatureSpec
    from vpd.model.perception import Perception
    from vpd.tasks import Task
    from vpd.training.feeding import Parts
    from vpd.training.schedules import Schedule
    from vpd.training.selection import SubsetConfig
    from vpd.training.settings import DataConfig


HEAD = "model.head"  # the setting
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


def build_task(job: TrainJob) -> Task:
    """The task object a configuration names.

    Raises:
        ConfigError: captions are dropped, and the task reads none.
    """
    task: Task = plugins.build_plugin(plugins.TASKS, job.task, "task")
    if job.data.caption_drop and not task.uses_text:
        raise ConfigError(
            f"data.caption_drop is {job.data.caption_drop}, but task {task.name} reads no sentences that could be "
            "left out. Leave it out, or train a task that finds what a sentence says, such as refer."
        )
    return task


def build_schedule(schedule: Mapping[str, Any], total: int, steps_per_epoch: float) -> Schedule:
    """The learning-rate curve that `optim.schedule` names, over a run of `total` steps.

    Raises:
        ConfigError: unknown name or option, or a curve that does not fit the run.
    """
    return plugins.build_plugin(plugins.SCHEDULES, schedule, "optim.schedule", total, steps_per_epoch)


def build_model(job: TrainJob, task: Task, schema: Schema, classes: np.ndarray | None = None) -> Perception:
    """Backbone, conditioning and head, with the pretrained UNet loaded.

    The number of context tokens (and so of attention-map channels) is that of the learned prompts, or is read from the
    set, never assumed.

    Args:
        classes: rows of the class table, float32 [C, D] or [C, T, D], for a task that uses one.
    """
    import torch

    torch.manual_seed(job.loop.seed)
    backbone = plugins.build_plugin(plugins.BACKBONES, job.backbone, "backbone")
    table = None if classes is None else torch.from_numpy(classes)
    return build_around(backbone, job, task, context_tokens(job, task, schema), table, said_width(job, schema))


def build_around(
    backbone: Backbone, job: TrainJob, task: Task, tokens: int, table: torch.Tensor | None, said: int = 0
) -> Perception:
    """The network around a backbone, on the device that torch makes tensors on.

    Args:
        tokens: of the context.
        table: class embeddings [C, D] or [C, T, D], for a task that uses them.
        said: numbers that the set's `vision` encoder says of a view, for a run that reads them.

    Raises:
        ConfigError: settings, backbone, task and table do not fit each other.
    """
    from vpd.model.perception import Perception

    head = build_head(task, backbone.spec(tokens), None if table is None else len(table), **job.model.head)
    return Perception.conditioned(
        backbone,
        head,
        job.model.prompts,
        gamma_init=job.model.gamma_init,
        latent_scale=job.model.latent_scale,
        latent_shift=job.model.latent_shift,
        class_embeddings=table,
        tokens=tokens,
        vision=job.model.vision,
        said=said,
    )


def build_head(task: Task, spec: FeatureSpec, rows: int | None = None, **options: Any) -> nn.Module:
    """The head a task takes, or the one that `options` name.

    Args:
        rows: of the class table, if the context comes from one.
        options: `model.head`: a name (of `vpd.heads`) and options of the head.

    Raises:
        ConfigError: no such head, an option it does not take, or one that does not fit the task or the backbone.
    """
    return plugins.build_plugin(plugins.HEADS, head_spec(task, options), HEAD, spec, **task.head_options(rows))


def head_spec(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-in setting of a head: what `options` say, and the task's choices for what they leave open."""
    chosen = {"name": task.head, **options}
    takes = plugins.option_parameters(plugins.find(plugins.HEADS, chosen, HEAD).build)
    known = {parameter.name for parameter in takes}
    return {**{key: value for key, value in task.head_defaults().items() if key in known}, **chosen}


def context_tokens(job: TrainJob, task: Task, schema: Schema) -> int:
    """Tokens of the context: the learned prompts, one of the picture, or those of the set's text.

    Raises:
        ConfigError: learned prompts, or a token of the picture, for a task whose context is a sentence.
    """
    if job.model.vision.classes:
        if task.uses_text:
            raise ConfigError(
                f"model.vision.classes is {job.model.vision.classes}, but task {task.name} finds what a sentence says: "
                "a token of the picture takes the place of text. Use depth or seg."
            )
        return 1
    if not job.model.prompts.count:
        return task.tokens(schema)
    if task.uses_text:
        raise ConfigError(
            f"model.prompts.count is {job.model.prompts.count}, but task {task.name} finds what a sentence says: "
            "learned prompts take the place of text. Use depth, seg or pose."
        )
    return job.model.prompts.count


def said_width(job: TrainJob, schema: Schema) -> int:
    """Numbers of what the set's `vision` encoder says of a view; 0 for a run that does not read them."""
    from vpd.model.device_batch import VISION

    return int(schema.field(VISION).shape[-1]) if job.model.vision.classes else 0


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


def build_parts(job: TrainJob, device: torch.device) -> Parts:
    """Everything the training loop needs."""
    from vpd.exchange.pretrained import initialise
    from vpd.model.regimes import apply_regime
    from vpd.training.feeding import Parts

    train_set = open_training_set(job.data)
    val_set = open_set(job.data.val, job.data, job.data.val_subset) if job.data.val else None
    task = build_task(job)
    load_pixels = pixel_loader(job, train_set.manifest) if job.data.latents == "online" else None
    rows, names = class_table(job, task, train_set.manifest)
    model = build_model(job, task, train_set.schema, rows)
    facts: BackboneFacts = model.backbone.facts  # read from the weights' own config, where a driver may have assumed
    fit.check_set(job, task, facts, train_set.manifest, "data.train")
    fit.check_stride(facts, train_set)
    check_label_decoder(model.head, train_set.manifest.recipe)
    if job.model.init:
        initialise(model, job.model.init)
    apply_regime(model, job.model)
    return Parts(
        task=task,
        model=model,
        class_names=names,
        schedule=partial(build_schedule, job.optim.schedule),
        train_set=train_set,
        val_set=val_set,
        encoders=build_encoders(job, facts.companions, train_set.schema, train_set.manifest.recipe, device),
        load_pixels=load_pixels,
    )


def pixel_loader(job: TrainJob, manifest: Manifest) -> Any:
    """Sample -> the pixels its latent was made from, rendered again from the dataset.

    Raises:
        ConfigError: no data.source.
        FingerprintMismatch: the dataset there is not the one the set was built from.
    """
    from pipeline.rendering.geometry import render, to_pixels
    from shards.geometry.view import View

    if not job.data.source:
        raise ConfigError("data.latents is 'online': set data.source to the `source` of the set's build configuration.")
    source = plugins.build_plugin(plugins.SOURCES, job.data.source, "data.source")
    if lines := recipe_difference(manifest.recipe["source"], source.identity(manifest.split)):
        raise FingerprintMismatch(f"data.source is not what {manifest.name} was built from:\n  " + "\n  ".join(lines))

    def load(sample: Any) -> Any:
        row = sample.row if manifest.schema.item_axis == "view" else 0  # sentences share their record's first view
        view, example = View.from_json(sample.meta["views"][row]), source.load(manifest.split, sample.key)
        shown = render(example.image, view, example.labels)
        return to_pixels([shown], view.size_px, pad_before_px=[view.pad_before_px])[0]  # [3, H, W]

    return load
