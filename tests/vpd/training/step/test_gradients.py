"""A batch in parts, and on two workers, gives the loss and gradients that it gives whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from toy_runs import CLASSES, HEADS, TOKENS, UNET, WIDTH

from diffusion_perception.assembly.network import build_head
from tests import forked
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig
from vpd.tasks import Task, depth, refer, seg
from vpd.tasks.seg.labels import SHOWN, shown_classes
from vpd.tasks.seg.task import SegTask
from vpd.training.step.gradients import backward
from vpd.training.worker import Worker

SAMPLES = 4
CASES: dict[str, Callable[[], Task]] = {
    "refer": refer.build,
    "depth": lambda: depth.build(crop="none"),
    "depth, each picture": lambda: depth.build(crop="none", loss="per_image"),
    "seg": lambda: seg.build(classes=CLASSES, dropout=0.0),
    "seg, labelled pixels": lambda: seg.build(classes=CLASSES, dropout=0.0, average="valid"),
    "seg, Lovász": lambda: seg.build(classes=CLASSES, dropout=0.0, lovasz=1.0),
}


def network(task: Task) -> Perception:
    """A small network whose norms do not look at the batch: their statistics are a part's own."""
    torch.manual_seed(0)
    backbone = SdUnet.from_config(UNET)
    rows = torch.randn(CLASSES, WIDTH) if task.uses_classes else None
    tokens = TOKENS if rows is None else CLASSES if task.name == "seg" else 1
    head = build_head(task, backbone.spec(tokens), rows=None if rows is None else CLASSES, **HEADS[task.name])
    options = {"class_embeddings": rows, "tokens": tokens}
    model = Perception.conditioned(backbone, head, PromptConfig(), gamma_init=0.1, **options)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def batch(task: Task, samples: int = SAMPLES) -> DeviceBatch:
    """Labels that no two samples have the same number of: of a class, and of none."""
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(samples, 4, 8, 8, generator=draw)
    text, labels = None, {}
    uneven = torch.rand(samples, 64, 64, generator=draw) < torch.linspace(0.1, 0.9, samples)[:, None, None]
    if task.name == "refer":
        text = torch.randn(samples, TOKENS, WIDTH, generator=draw)
        labels = {"mask": uneven.to(torch.uint8)}
    elif task.name == "depth":
        metres = 1 + 8 * torch.rand(samples, 64, 64, generator=draw)
        labels = {"depth": metres * uneven, "class_id": torch.arange(samples) % CLASSES}
    else:
        classes = torch.randint(0, CLASSES, (samples, 64, 64), generator=draw, dtype=torch.uint8)
        labels = {"label": torch.where(uneven, classes, 255).to(torch.uint8)}
        shown = {SHOWN: np.stack([shown_classes(label.numpy(), CLASSES) for label in labels["label"]])}
        return DeviceBatch(latents, text, labels, shown if isinstance(task, SegTask) and task.pixel_loss.lovasz else {})
    return DeviceBatch(latents, text, labels)


def gradients(model: nn.Module, task: Task, drawn: DeviceBatch, **options: Any) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    loss = backward(model, task, drawn, Worker(), **options)
    slopes = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(slopes)


@pytest.mark.parametrize("micro_batch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_parts_give_what_the_whole_batch_gives(case: str, micro_batch: int) -> None:
    task = CASES[case]()
    model, drawn = network(task), batch(task)
    loss, whole = gradients(model, task, drawn)
    in_parts, added = gradients(model, task, drawn, micro_batch=micro_batch)
    assert in_parts == pytest.approx(loss, rel=1e-6)
    assert (added - whole).norm() <= 1e-5 * whole.norm()


def test_a_part_is_not_simply_as_much_as_another() -> None:
    """What the weights are for: parts of unlike labels, averaged evenly, are another loss."""
    task = CASES["seg, labelled pixels"]()
    model, drawn = network(task), batch(task)
    _, whole = gradients(model, task, drawn)
    task.loss_weight = lambda part: torch.ones(())
    _, even = gradients(model, task, drawn, micro_batch=1)
    assert (even - whole).norm() > 1e-2 * whole.norm()


def test_running_statistics_count_each_sample_once() -> None:
    task = CASES["depth"]()
    model, drawn = network(task).train(), batch(task)
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[int] = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    before = norm.running_mean.clone()
    gradients(model, task, drawn, micro_batch=2)
    assert seen == [2, 2, 2, 2], "each part passes twice: this loss is over all pixels at once"
    assert norm.num_batches_tracked == 2
    assert norm.momentum == pytest.approx(0.1)
    assert not torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("seed", [0, 7])
def test_dropout_falls_as_the_seed_says(seed: int) -> None:
    task = seg.build(classes=CLASSES, dropout=0.5)
    model, drawn = network(task), batch(task)
    first, again = (gradients(model, task, drawn, seed=seed, micro_batch=2) for _ in range(2))
    other = gradients(model, task, drawn, seed=seed + 100, micro_batch=2)
    assert first[0] == again[0]
    assert torch.equal(first[1], again[1])
    assert first[0] != other[0]


SPLITS = {"even": (0, 2, 4), "uneven, as of an elastic run": (0, 3, 4)}
WEIGHTED = ("refer", "seg, labelled pixels")


def part_of(drawn: DeviceBatch, begin: int, end: int) -> DeviceBatch:
    text = None if drawn.text is None else drawn.text[begin:end]
    return DeviceBatch(drawn.latents[begin:end], text, {name: rows[begin:end] for name, rows in drawn.labels.items()})


def take_part(rank: int, folder: str) -> None:
    found = {}
    for split, bounds in SPLITS.items():
        for case in (*WEIGHTED, "depth"):
            task = CASES[case]()
            model, mine = network(task), part_of(batch(task), *bounds[rank : rank + 2])
            wrapped, share = DistributedDataParallel(model), len(mine) * 2 / SAMPLES
            loss = backward(wrapped, task, mine, Worker(rank, 2), micro_batch=1, share=share)
            slopes = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            found[split, case] = (loss.item(), slopes)
    torch.save(found, f"{folder}/{rank}.pt")


def test_two_workers_in_parts_give_what_one_gives_whole(tmp_path: Path) -> None:
    forked.together(take_part, str(tmp_path), meeting=tmp_path / "meeting")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for split, case in ranks[0]:
        task, bounds = CASES[case](), SPLITS[split]
        if case in WEIGHTED:
            loss, whole = gradients(network(task), task, batch(task))
        else:  # a loss that stays each worker's own counts by its samples
            own = [gradients(network(task), task, part_of(batch(task), *bounds[k : k + 2])) for k in range(2)]
            counts = [(bounds[k + 1] - bounds[k]) / SAMPLES for k in range(2)]
            loss = sum(count * one for count, (one, _) in zip(counts, own, strict=True))
            whole = sum((count * slopes for count, (_, slopes) in zip(counts, own, strict=True)), torch.zeros(()))
        assert sum(found[split, case][0] for found in ranks) / 2 == pytest.approx(loss, rel=1e-5)
        for found in ranks:
            assert (found[split, case][1] - whole).norm() <= 1e-4 * whole.norm()
