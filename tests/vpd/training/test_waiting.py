"""Between two logged steps nothing waits for the device, and nothing of a step is left on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shards.reading.batch import SampleBatch
from tests.toy_training import STEPS, toy_config, toy_train
from tests.vpd.training.step.test_gradients import CASES, batch, network
from tests.waiting import NothingWaits, Waits
from vpd.model.device_batch import DeviceBatch, Encoders, to_batch
from vpd.training.run import Run
from vpd.training.step.gradients import backward
from vpd.training.worker import Worker

META = torch.device("meta")
LOVASZ = "seg, Lovász"  # sorts the classes there are, of which the host is told with the batch


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: bool(x.sum() > 0),
        lambda x: float(x.sum()),
        lambda x: x.nonzero(),
        lambda x: torch.nonzero(x),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: torch.clamp(x, max=x.sum().item()),
    ],
)
def test_what_waits_is_found(call: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(Waits), NothingWaits():
        call(torch.ones(3))


def test_a_step_of_the_loop_waits_for_nothing(depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, steps = Run._learn, []

    def watched(run: Run, raw: SampleBatch) -> None:
        with NothingWaits():
            learn(run, raw)
        steps.append(run.step)

    monkeypatch.setattr(Run, "_learn", watched)
    config = toy_config(depth_set)
    config = replace(config, optim=replace(config.optim, clip_norm=1.0, gradient_noise=0.01, ema_decay=0.9))
    toy_train(tmp_path, config)
    assert len(steps) == STEPS


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize("case", CASES)
def test_forward_loss_and_backward_of_a_task_wait_for_nothing(case: str, micro_batch: int) -> None:
    task = CASES[case]()
    model, drawn = network(task), batch(task)
    backward(model, task, drawn, Worker(), micro_batch=micro_batch)  # constants are copied there once
    with NothingWaits():
        backward(model, task, drawn, Worker(), micro_batch=micro_batch)


def test_a_batch_of_which_the_host_knows_nothing_is_waited_for() -> None:
    task = CASES[LOVASZ]()
    with pytest.raises(Waits), NothingWaits():
        backward(network(task), task, replace(batch(task), on_host={}), Worker())


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_step_is_left_on_the_cpu(case: str) -> None:
    """The meta device refuses to compute with a tensor of another, and to give a number back."""
    task = CASES[case]()
    model, drawn = network(task).to(META), batch(task)
    text = None if drawn.text is None else drawn.text.to(META)
    labels = {name: values.to(META) for name, values in drawn.labels.items()}
    loss = backward(model, task, DeviceBatch(drawn.latents.to(META), text, labels, drawn.on_host), Worker(device=META))
    assert loss.device == META
    assert all(p.grad is None or p.grad.device == META for p in model.parameters())


def test_arrays_go_to_any_device_they_are_meant_for() -> None:
    arrays = {"latent": np.zeros((2, 4, 8, 8), np.float16), "text": np.zeros((2, 7, 3), np.float16)}
    found = to_batch({**arrays, "mask": np.zeros((2, 8, 8), np.uint8)}, Encoders(), META)
    assert found.text is not None
    assert {found.latents.device, found.text.device, found.labels["mask"].device} == {META}


def test_labels_for_the_host_stay_there_and_are_no_part_of_the_streams_buffers() -> None:
    flags = np.array([[True, False]])
    found = to_batch({"latent": np.zeros((1, 4, 8, 8), np.float16), "host_classes": flags}, Encoders(), META)
    flags[:] = False  # the next batch in the same buffer
    assert not found.labels
    assert found.on_host["host_classes"].tolist() == [[True, False]]
