"""One exact pass over a split: every record once, on any number of workers.

Owns how records become forward passes: worker r takes records r, r + world, ...; the samples of a record (the
sentences of an image, the windows of a picture) are packed across records into full batches, all against the
record's stored latents, so nothing is encoded twice. States are joined at the end; the joined count must
equal the manifest's. What a sample is and how its output is scored is left to the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import nn

from shards.errors import ContractError
from shards.reading.reader import ShardSet, StoredRecord
from vpd.model.device_batch import Encoders, text_fields, to_batch
from vpd.tasks import Task
from vpd.tasks.metric import Metric


@dataclass
class _Pending:
    """A record whose samples are on their way through the model."""

    record: StoredRecord
    n_samples: int
    outputs: list[torch.Tensor]

    @property
    def complete(self) -> bool:
        return sum(len(o) for o in self.outputs) == self.n_samples


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
    autocast: Callable[[], torch.autocast] | None = None,
    on_record: Callable[[StoredRecord, torch.Tensor], None] | None = None,
    text: str = "auto",
    limit: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Metric:
    """Evaluate this worker's share of a set and return its metric, to be joined with those of the others.

    Args:
        model: called as `model(latents, context, out_size_px)` -> [B, ...] predictions.
        batch_size: samples per forward; every batch but a worker's last has exactly this many.
        on_record: called with each record and its outputs, e.g. to draw or export them.
        text: `stored`, `online` or `auto`, as `DataConfig.text`.
        limit: > 0: only the first so many records of the set (for a quick look; the count check is the caller's).
        progress: called after each record with the number of scored records and of all, of this worker's share.
    """
    device = torch.device(device)
    encoders = encoders or Encoders()
    metric = task.new_metric()
    was_training = model.training
    model.eval()
    chosen = range(rank, min(limit, shards.n_records) if limit else shards.n_records, world)
    fields = text_fields(shards.schema, text) if task.uses_text else ()
    queue: list[_Pending] = []
    waiting: list[tuple[_Pending, dict[str, np.ndarray]]] = []
    scored = 0

    def flush(n: int) -> None:
        """Run the first n waiting samples and score every record this completes."""
        nonlocal scored
        rows = waiting[:n]
        del waiting[:n]
        arrays = {name: np.stack([r[name] for _, r in rows]) for name in rows[0][1]}
        batch = to_batch(arrays, encoders, device)
        with autocast() if autocast else torch.autocast("cpu", enabled=False):
            outputs = model(batch.latents, task.context(batch), task.out_size_px(batch))  # [B, C, H, W]
        outputs = outputs.float()
        for (pending, _), output in zip(rows, outputs, strict=True):
            pending.outputs.append(output[None])
        while queue and queue[0].complete:
            done = queue.pop(0)
            stacked = torch.cat(done.outputs)  # [N, C, H, W]
            task.score(metric, done.record, stacked)
            if on_record:
                on_record(done.record, stacked)
            scored += 1
            if progress:
                progress(scored, len(chosen))

    with torch.inference_mode():
        for record, samples in _prefetched(task, shards, chosen, fields):
            pending = _Pending(record, len(next(iter(samples.values()))), [])
            queue.append(pending)
            waiting += [(pending, {k: v[i] for k, v in samples.items()}) for i in range(pending.n_samples)]
            while len(waiting) >= batch_size:
                flush(batch_size)
        if waiting:
            flush(len(waiting))
    model.train(was_training)
    return metric


def predict_record(
    model: nn.Module, task: Task, record: StoredRecord, text_fields: Sequence[str], device: torch.device | str
) -> torch.Tensor:
    """Outputs `[N, C, h, w]` of one record's samples in one batch, for a picture that belongs to no set."""
    batch = to_batch(task.samples(record, *text_fields), Encoders(), torch.device(device))
    return model(batch.latents, task.context(batch), task.out_size_px(batch)).float()


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


def _prefetched(
    task: Task, shards: ShardSet, chosen: range, text: tuple[str, ...], ahead: int = 8
) -> Iterator[tuple[StoredRecord, Mapping[str, np.ndarray]]]:
    """Records and their sample arrays in order, read by a thread ahead of the model."""

    def read(index: int) -> tuple[StoredRecord, Mapping[str, np.ndarray]]:
        record = shards.record(index)
        return record, task.samples(record, *text)

    with ThreadPoolExecutor(1, thread_name_prefix="evaluate-read") as pool:
        indices = iter(chosen)
        futures = [pool.submit(read, i) for i in islice(indices, ahead)]
        while futures:
            yield futures.pop(0).result()
            if (index := next(indices, None)) is not None:
                futures.append(pool.submit(read, index))
