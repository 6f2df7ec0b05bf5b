"""An exact pass: labels decoded ahead of the model, and a last batch of the same shape as the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from vpd.inference.evaluate import evaluate, outputs_of
from vpd.model.device_batch import DeviceBatch, Encoders
from vpd.tasks import Task
from vpd.tasks.metric import counting_on

CPU = torch.device("cpu")


class Doubled(torch.nn.Module):
    """Twice the latents; notes the shapes it meets."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, latents: torch.Tensor, context: Any, out_size_px: Any) -> torch.Tensor:
        self.batches.append(len(latents))
        return 2 * latents


class Sums:
    """Sums what it is given."""

    def __init__(self) -> None:
        self.state = torch.zeros(2, dtype=torch.float64)


class Summed(Task):
    """Adds the target of a record to its outputs; notes who decodes."""

    name, head, metric_name = "summed", "", "sum"

    def __init__(self, *, targets: bool) -> None:
        self.gives, self.decoders = targets, set[str]()

    def context(self, batch: DeviceBatch) -> None:
        return None

    def new_metric(self) -> Any:
        return Sums()

    def samples(self, record: Any, *text_fields: str) -> Mapping[str, np.ndarray]:
        return {"latent": np.full((record % 3 + 1, 1, 1, 1), record, np.float16)}

    def targets(self, record: Any) -> Any:
        self.decoders.add(threading.current_thread().name)
        return 100.0 if self.gives else None

    def score(self, metric: Any, record: Any, outputs: torch.Tensor, targets: Any = None) -> None:
        metric.state += torch.tensor([float(outputs.sum()), targets or 0.0], dtype=torch.float64)


class Records:
    """A set whose records are their numbers."""

    n_records = 7

    def record(self, index: int) -> int:
        return index


@pytest.mark.parametrize("gives", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_sample_counts_once_whatever_the_batch(batch_size: int, gives: bool) -> None:
    model, task = Doubled(), Summed(targets=gives)
    metric: Any = evaluate(model, task, Records(), batch_size=batch_size)  # pyright: ignore[reportArgumentType]
    expected = sum(2 * record * (record % 3 + 1) for record in range(7))
    assert metric.state.tolist() == [expected, 700.0 * gives]
    assert all(name.startswith("read-ahead") for name in task.decoders)
    samples = sum(record % 3 + 1 for record in range(7))  # 13
    assert model.batches == ([samples] if batch_size == 16 else [batch_size] * -(-samples // batch_size))


def test_a_prediction_is_not_filled_up() -> None:
    model = Doubled()
    rows: Iterator[Any] = iter([("a", {"latent": np.zeros((3, 1, 1, 1), np.float16)})])
    ((_, outputs),) = outputs_of(model, Summed(targets=False), rows, 2, CPU, Encoders(), None)
    assert len(outputs) == 3
    assert model.batches == [2, 1]


def test_a_metric_stays_where_it_is_on_a_cpu_or_unless_it_can_move() -> None:
    metric = Sums()
    assert counting_on(metric, CPU) is metric
    assert counting_on(metric, torch.device("cuda")) is metric
