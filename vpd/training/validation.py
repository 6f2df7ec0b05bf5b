"""Scores of the validation set while a run trains, the same on every worker.

Owns how the workers' parts are joined; the pass itself is `vpd.inference.evaluate`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from shards.progress import duration, reports
from shards.reading.reader import StoredRecord
from vpd.inference.evaluate import check_count, evaluate
from vpd.model.perception import Perception
from vpd.training.feeding import Parts
from vpd.training.settings import TrainConfig
from vpd.training.telemetry.log import RunLog
from vpd.training.worker import Worker


def validate(
    model: Perception,
    config: TrainConfig,
    parts: Parts,
    worker: Worker,
    autocast: Callable[[], AbstractContextManager[Any]],
    log: RunLog | None,
    on_record: Callable[[StoredRecord, torch.Tensor], None] | None = None,
) -> dict[str, float]:
    """The scores; a long pass says how far this worker is.

    Args:
        on_record: called with each record of this worker and its outputs.
    """
    assert parts.val_set is not None
    share = "[val]" if worker.world == 1 else f"[val, worker {worker.rank} of {worker.world}]"
    began_s = time.perf_counter()
    metric = evaluate(
        model,
        parts.task,
        parts.val_set,
        rank=worker.rank,
        world=worker.world,
        batch_size=config.data.eval_batch_size,
        device=worker.device,
        encoders=parts.encoders,
        autocast=autocast,
        text=config.data.text,
        vision=bool(config.model.vision.classes),
        on_record=on_record,
        progress=reports(share, "records", log.say) if log else None,
    )
    metric = metric.joined(worker.gathered(metric.state))
    check_count(metric, parts.task, parts.val_set)
    scores = metric.compute()
    if log:
        spent_s = max(time.perf_counter() - began_s, 1e-9)  # read after the scores: those wait for the device
        log.say(f"[val] {metric.count} samples in {duration(spent_s)}, {metric.count / spent_s:.1f} a second")
    return scores
