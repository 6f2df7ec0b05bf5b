"""The peak of a step that is counted on shapes is the peak of the bytes that torch's allocator then gives out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from toy_runs import CLASSES, HEADS, TOKENS, UNET, WIDTH

from diffusion_perception.assembly.network import build_head
from vpd.backbones.sd_unet.unet import SdUnet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.regimes import apply_regime
from vpd.model.settings import LoraConfig, ModelConfig, PromptConfig
from vpd.tasks import Task, depth, refer, seg
from vpd.training.memory.step_memory import peak_bytes
from vpd.training.settings import OptimConfig
from vpd.training.step.averaging import WeightAverage
from vpd.training.step.gradients import backward
from vpd.training.step.optim import build_optimizer, named_groups
from vpd.training.step.sharded import largest_share
from vpd.training.worker import Worker

TASKS: dict[str, Callable[[], Task]] = {
    "refer": refer.build,
    "depth": lambda: depth.build(crop="none"),
    "seg": lambda: seg.build(classes=CLASSES),
    "lovasz": lambda: seg.build(classes=CLASSES, lovasz=1.0),
}
SIZES = {  # of the UNet, and the side of its latents: weights are most of it, or activations, or neither
    "small": (UNET | {"layers_per_block": 1}, 8),
    "wide": (UNET | {"layers_per_block": 1, "block_out_channels": [64, 64, 128, 256]}, 8),
    "large views": (UNET | {"layers_per_block": 1}, 16),
}
LORA = ModelConfig(train="lora", lora=LoraConfig(rank=4))
HEAD = ModelConfig(train="head")


def network(task: Task, size: str, regime: ModelConfig, **options: Any) -> Perception:
    torch.manual_seed(0)
    backbone = SdUnet.from_config(SIZES[size][0], **options)
    rows = torch.randn(CLASSES, WIDTH) if task.uses_classes else None
    tokens = TOKENS if rows is None else CLASSES if task.name == "seg" else 1
    head = build_head(task, backbone.spec(tokens), rows=None if rows is None else CLASSES, **HEADS[task.name])
    made = Perception.conditioned(backbone, head, PromptConfig(), class_embeddings=rows, tokens=tokens)
    return apply_regime(made.train(), regime)


def batch(task: Task, side: int, samples: int) -> DeviceBatch:
    latents, px = torch.randn(samples, 4, side, side), 8 * side
    if task.name == "refer":
        mask = torch.zeros(samples, px, px, dtype=torch.uint8)
        return DeviceBatch(latents, torch.randn(samples, TOKENS, WIDTH), {"mask": mask})
    if task.name == "depth":
        labels = {"depth": torch.rand(samples, px, px) + 1, "class_id": torch.zeros(samples, dtype=torch.int64)}
        return DeviceBatch(latents, None, labels)
    return DeviceBatch(latents, None, {"label": torch.randint(0, CLASSES, (samples, px, px), dtype=torch.uint8)})


def measured_peak(
    model: nn.Module, task: Task, drawn: DeviceBatch, optim: OptimConfig, micro_batch: int, bfloat16: bool
) -> int:
    """Bytes held before a step, and the most that the allocator gave out beside them during it."""
    optimizer = build_optimizer(named_groups(model, optim), optim)
    average = WeightAverage(model, optim.ema_decay) if optim.ema_decay else None

    def forward_pass() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if bfloat16 else nullcontext()

    def step(number: int) -> None:
        backward(model, task, drawn, Worker(), autocast=forward_pass, micro_batch=micro_batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average:
            average.after_step(number, torch.zeros(()))

    step(1)  # makes the moments
    held = [*model.parameters(), *model.buffers(), drawn.latents, *drawn.labels.values()]
    held += [value for state in optimizer.state.values() for value in state.values()]
    held += [] if drawn.text is None else [drawn.text]
    held += average.tensors().values() if average else []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        step(2)
    assert told.profiler is not None
    assert told.profiler.kineto_results is not None
    given: list[Any] = [event for event in told.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = sum(tensor.nbytes for tensor in held)
    for event in sorted(given, key=lambda event: event.start_ns()):
        now += event.nbytes()  # negative where it came back
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(
    ("name", "size", "regime", "again", "micro_batch", "ema_decay", "bfloat16"),
    [
        ("refer", "small", ModelConfig(), False, 0, 0.0, True),
        ("refer", "wide", LORA, True, 0, 0.9, False),
        ("depth", "wide", ModelConfig(), False, 1, 0.9, False),
        ("seg", "large views", HEAD, False, 1, 0.0, False),
        ("lovasz", "large views", ModelConfig(), True, 0, 0.0, False),
    ],
)
def test_the_count_is_what_the_allocator_gives_out(
    name: str, size: str, regime: ModelConfig, again: bool, micro_batch: int, ema_decay: float, bfloat16: bool
) -> None:
    task, side, optim = TASKS[name](), SIZES[size][1], OptimConfig(ema_decay=ema_decay)
    model = network(task, size, regime, gradient_checkpointing=again)
    counted = peak_bytes(
        model, task, batch(task, side, 1), 2, ema_decay=ema_decay, micro_batch=micro_batch, bfloat16=bfloat16
    )
    assert counted == pytest.approx(
        measured_peak(model, task, batch(task, side, 2), optim, micro_batch, bfloat16), rel=0.1
    )


def test_what_several_workers_hold_beside_it_is_counted() -> None:
    """A bucket for every gradient; the moments of a share alone; gradients beside their buckets."""
    task = TASKS["refer"]()
    model, drawn = network(task, "wide", ModelConfig()), batch(task, 8, 1)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    other_bytes = sum(one.nbytes for one in learned) - sum(one.nbytes for one in largest_share(learned, 2))
    apart = peak_bytes(model, task, drawn, 1, summed_apart=True)
    shared = peak_bytes(model, task, drawn, 1, summed_apart=True, shared_by=2)
    beside = peak_bytes(model, task, drawn, 1, summed_apart=True, gradients_beside=True)
    assert apart is not None
    assert shared is not None
    assert beside is not None
    assert other_bytes > 0
    assert apart - shared == 2 * other_bytes
    assert beside > apart
