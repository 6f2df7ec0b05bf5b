"""What a run is made of, and the stream of its batches.

Owns which arrays of the training set a task is fed. Which batch comes when is `shards.reading.order`'s, the copy to the
device `vpd.model.device_batch`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shards.contract.manifest import Manifest
from shards.errors import ConfigError
from shards.reading.caption_drop import CaptionDrop
from shards.reading.labelling import BatchLabels, one_by_one
from shards.reading.order import order_of
from shards.reading.reader import ShardSet, StoredRecord
from shards.reading.stream import BatchStream
from vpd.model.device_batch import PIXELS, VISION, Encoders, pinned_allocator, text_fields
from vpd.model.perception import Perception
from vpd.tasks import Task
from vpd.training.schedules import Schedule
from vpd.training.schedules.poly import build as poly
from vpd.training.settings import TrainConfig
from vpd.training.worker import Worker


@dataclass
class Parts:
    """The objects a run is made of; `jobs.train` builds them from the configuration."""

    task: Task
    model: Perception
    train_set: ShardSet
    val_set: ShardSet | None = None
    encoders: Encoders = field(default_factory=Encoders)
    class_names: tuple[str, ...] = ()  # of the rows of the model's class table
    schedule: Callable[[int, float], Schedule] = poly  # (total steps, steps per epoch) -> the learning-rate curve
    load_pixels: Callable[[Any], Any] | None = None  # Sample -> float32 [3, H, W], for latents: online
    canvas: Callable[[StoredRecord], np.ndarray] | None = None  # what predictions are drawn on: uint8 [H, W, 3]


def open_stream(config: TrainConfig, parts: Parts, worker: Worker, start_step: int, stop_step: int) -> BatchStream:
    """The training stream of one worker, from one optimiser step to another."""
    data, shards = config.data, parts.train_set
    fields = ("latent", *text_fields(shards.schema, data.text)) if parts.task.uses_text else ("latent",)
    if config.model.vision.classes:
        fields = (*fields, VISION)
    return BatchStream(
        shards,
        order_of(shards, seed=config.loop.seed, window_shards=data.window_shards, fixed=data.order == "fixed"),
        batch_size=data.batch_size,
        rank=worker.rank,
        world=worker.world,
        position=start_step * data.batch_size,
        stop=stop_step * data.batch_size,
        fields=fields,
        draw_seed=config.loop.seed,
        draw=parts.task.row_draw,
        drop=CaptionDrop(data.caption_drop, parts.encoders.empty) if data.caption_drop else None,
        batch_labels=_labels(data.latents, parts),
        threads=data.threads,
        ahead=data.ahead,
        allocate=pinned_allocator(worker.device),
        uneven=True,  # an elastic run goes on with workers that do not divide the batch
    )


def unseen_views(manifest: Manifest) -> str:
    """What a person should hear of a set of sentences whose pictures have several views; empty for any other."""
    views, records = manifest.counts.get("view", 0), manifest.counts["records"]
    if manifest.schema.item_axis == "view" or views <= records:
        return ""
    return (
        f"{manifest.name} has {views} views of {records} pictures, items are sentences: each is shown with the "
        "first view of its picture, the others are never used"
    )


def _labels(latents: str, parts: Parts) -> BatchLabels:
    """The labels of a batch, and its pixels if latents are encoded online."""
    of_task, load_pixels = parts.task.batch_labels, parts.load_pixels
    if latents == "cached":
        return of_task
    if load_pixels is None or parts.encoders.latents is None:
        raise ConfigError("data.latents is 'online', but no pixels can be loaded: set data.source.")
    pixels = one_by_one(lambda sample: {PIXELS: load_pixels(sample)})
    return lambda samples, room: {**of_task(samples, room), **pixels(samples, room)}
