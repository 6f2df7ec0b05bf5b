"""One exact pass over a split: every record once, on any number of workers.

Owns how records become forward passes: worker r takes records r, r + world, ...; the samples of a record (the
sentences of an image, the windows of a picture) are packed across records into full batches, all against the
record's stored latents, so nothing is encoded twice. Labels are decoded by reader threads while the model is at work,
and counted where the predictions are. States are joined at the end; the joined count must
equal the manifest's. What a sample is and how its output is scored is left to the task.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from shards.errors import ConfigError, ContractError
from shards.reading.reader import ShardSet, StoredRecord
from vpd.inference.packing import packed, read_ahead, rows_of
from vpd.model.device_batch import VISION, Encoders, context_of, text_fields, to_batch
from vpd.tasks import Conditioned, Scored, Task
from vpd.tasks.metric import Metric, counting_on

AHEAD, READERS = 8, 2  # records read ahead of the model, and the threads that read and decode them

R = TypeVar("R")


def evaluate(
    model: nn.Module,
    task: Task,
    shards: ShardSet,
    *,
    rank: int = 0,
    world: int = 1,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
    encoders: Encoders | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] | None = None,
    on_record: Callable[[StoredRecord, torch.Tensor], None] | None = None,
    text: str = "auto",
    vision: bool = False,
    limit: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Metric:
    """Evaluate this worker's share of a set and return its metric, to be joined with those of the others.

    Args:
        model: called as `model(latents, context, out_size_px)` -> [B, ...] predictions.
        batch_size: samples per forward; a worker's last batch is filled up to as many, if there was one before.
        on_record: called with each record and its outputs, e.g. to draw or export them.
        text: `stored`, `online` or `auto`, as `DataConfig.text`.
        vision: the model reads what is said of views (`Perception.reads_vision`).
        limit: > 0: only the first so many records of the set (for a quick look; the count check is the caller's).
        progress: called after each record with the number of scored records and of all, of this worker's share.
    """
    device = torch.device(device)
    metric = counting_on(task.new_metric(), device)
    was_training = model.training
    model.eval()
    chosen = range(rank, min(limit, shards.n_records) if limit else shards.n_records, world)
    fields = text_fields(shards.schema, text) if task.uses_text else ()

    def read(index: int) -> tuple[tuple[StoredRecord, Any], Mapping[str, np.ndarray]]:
        record = shards.record(index)
        return (record, task.targets(record)), samples_of(task, record, *fields, vision=vision)

    with torch.inference_mode():
        records = read_ahead(chosen, read, AHEAD, READERS)
        passes = outputs_of(model, task, records, batch_size, device, encoders or Encoders(), autocast, fills=True)
        for scored, ((record, targets), outputs) in enumerate(passes, 1):
            if targets is None:
                task.score(metric, record, outputs)
            else:
                task.score(metric, record, outputs, targets)
            if on_record:
                on_record(record, outputs)
            if progress:
                progress(scored, len(chosen))
    model.train(was_training)
    return metric


def samples_of(task: Scored, record: StoredRecord, *text_fields: str, vision: bool) -> Mapping[str, np.ndarray]:
    """A record's samples as the task gives them, with what is said of their views where the model reads that."""
    samples = task.samples(record, *text_fields)
    return {**samples, VISION: record.array(VISION)} if vision else samples


def outputs_of(
    model: nn.Module,
    task: Conditioned,
    records: Iterable[tuple[R, Mapping[str, np.ndarray]]],
    batch_size: int,
    device: torch.device,
    encoders: Encoders,
    autocast: Callable[[], AbstractContextManager[Any]] | None,
    alike: Callable[[Mapping[str, np.ndarray]], Hashable] = lambda row: None,
    *,
    fills: bool = False,
) -> Iterator[tuple[R, torch.Tensor]]:
    """Every record with the outputs `[N, C, h, w]` of its samples, float32, in order; a record whose samples are an
    empty mapping comes out with an empty tensor.

    To be used in inference mode.

    Args:
        alike: what samples of one batch have in common; those of a set are alike.
        fills: after the first full batch, fill a smaller one with copies of its last sample, whose outputs nobody sees:
            a compiled model meets no second shape.

    Raises:
        ConfigError: outputs of one record that differ in size.
    """

    filled = False  # whether a batch has been full

    def run(rows: list[dict[str, np.ndarray]]) -> torch.Tensor:
        nonlocal filled
        wanted, filled = len(rows), filled or len(rows) == batch_size
        if fills and filled:
            rows = rows + rows[-1:] * (batch_size - wanted)
        batch = to_batch({name: np.stack([row[name] for row in rows]) for name in rows[0]}, encoders, device)
        with autocast() if autocast else torch.autocast("cpu", enabled=False):
            outputs = model(batch.latents, context_of(task, batch), task.out_size_px(batch))  # [B, C, H, W]
        return outputs[:wanted].float()

    owners = ((record, rows_of(samples) if samples else ()) for record, samples in records)
    for record, outputs in packed(owners, batch_size, run, alike):
        if len(sizes := {tuple(output.shape) for output in outputs}) > 1:
            raise ConfigError(f"views of one picture are predicted at {sorted(sizes)}; use a view plan of one size.")
        yield record, torch.stack(outputs) if outputs else torch.empty(0)


def check_count(metric: Metric, task: Task, shards: ShardSet) -> None:
    """Refuse a result that does not cover the split exactly once.

    Raises:
        ContractError: the joined count differs from the manifest's.
    """
    expected = task.expected_count(shards.manifest)
    if metric.count != expected:
        raise ContractError(
            f"evaluation of {shards.manifest.name} counted {metric.count} samples, its manifest says {expected}. "
            "Every record must be evaluated exactly once; verify the set with `python -m shards.verify`."
        )
