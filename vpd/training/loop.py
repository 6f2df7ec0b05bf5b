"""The training loop: build, restore, then {batch, forward, loss, backward, step, log, evaluate, save}.

Owns the order of these and the numerics (autocast, float32 master weights). Position is one integer, the optimiser
step: the stream, the drawn sentences, the learning rate and the random state are all functions of it, so resuming is
arithmetic (docs/methods/training.md#position). There is no synchronisation with the device between two logged steps.
What a checkpoint holds is `vpd.training.resume`'s; placement and restarts are left to `jobs.train`, which hands in a
`Worker` and a `report` function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from shards.errors import ConfigError
from shards.progress import Progress, reports
from shards.reading.order import order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream, Sample
from vpd.inference.evaluate import check_count, evaluate
from vpd.model.device_batch import PIXELS, Encoders, pinned_allocator, text_fields, to_batch
from vpd.model.perception import Perception
from vpd.tasks import Task
from vpd.training.checkpoint import Checkpoint, CheckpointStore
from vpd.training.log import RunLog
from vpd.training.optim import build_optimizer, named_groups
from vpd.training.resume import move_schedule, restore_run, save_run
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


def train(
    config: TrainConfig,
    parts: Parts,
    worker: Worker,
    store: CheckpointStore,
    log: RunLog | None,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    report: Callable[[Checkpoint | None, Mapping[str, float]], None] = lambda checkpoint, metrics: None,
    resolved: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Train to the end of the schedule, resuming from the newest finished checkpoint in `store`.

    Args:
        log: the run's log on rank 0, None elsewhere.
        wrap: puts the model under data parallelism (DDP); identity for one worker.
        report: called on every rank after each checkpoint.
        resolved: the whole configuration as plain data, saved into every checkpoint.

    Returns:
        The last evaluation's metrics and `loss`, the last logged training loss.

    Raises:
        FingerprintMismatch: the run was started on another build of the training set.
    """
    loop, data = config.loop, config.data
    task, shards = parts.task, parts.train_set
    torch.manual_seed(loop.seed)
    model = parts.model.to(worker.device)
    if loop.channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if worker.world > 1 and worker.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # replaces the children in place
    optimizer = build_optimizer(named_groups(model, config.optim), config.optim, fused=worker.device.type == "cuda")
    total = loop.total_steps(shards.n_items, data.batch_size)
    epoch_steps = shards.n_items / data.batch_size
    curve = parts.schedule(total, epoch_steps)

    step = restore_run(store, model, optimizer, shards.manifest, data.batch_size, say=log.say if log else None)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, curve)
    move_schedule(scheduler, step)
    if loop.compile:
        model.compile_blocks()
    wrapped = wrap(model)
    autocast = autocast_of(loop.precision, worker.device)
    eval_every = loop.eval_every_steps or max(int(epoch_steps), 1)
    save_every = loop.save_every_steps or eval_every
    stop = min(total, loop.stop_after_steps or total)
    if log:
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
        log.say(
            f"{shards.manifest.name}: {shards.n_items} items, {total} steps of {data.batch_size} "
            f"on {worker.world} worker(s), {worker.device}; {parameters:.1f}M trainable; starting at step {step}"
        )
        for group in optimizer.param_groups:
            log.say(
                f"  group {group['name']}: {len(group['params'])} tensors, lr {group['initial_lr']:.2e}, "
                f"weight decay {group['weight_decay']:g}"
            )

    results: dict[str, float] = {}
    if loop.eval_at_start and step == 0 and parts.val_set is not None:
        results.update(_validate(model, config, parts, worker, autocast, log))
        if log:
            log.write(0, results, prefix="val", total=total)
    losses: list[torch.Tensor] = []
    model.train()
    stream = open_stream(config, parts, worker, start_step=step, stop_step=stop)
    with stream:
        started, waited_s, logged_at = time.perf_counter(), 0.0, step
        first_step, steps_to_do = step, Progress(stop - step, "steps")  # with the evaluations among them
        batches = iter(stream)
        while step < stop:
            asked = time.perf_counter()
            raw = next(batches)
            waited_s += time.perf_counter() - asked
            batch = to_batch(raw.arrays, parts.encoders, worker.device)
            torch.manual_seed(_step_seed(loop.seed, step, worker.rank))  # dropout is a function of the position
            with autocast():
                logits = wrapped(batch.latents, task.context(batch), task.out_size_px(batch))
                loss = task.loss(logits, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
            losses.append(loss.detach())
            step += 1

            if loop.log_every_steps and (step % loop.log_every_steps == 0 or step == stop):
                mean_loss = worker.summed(torch.stack(losses).double().mean()[None]).item() / worker.world
                losses.clear()
                elapsed = time.perf_counter() - started
                results["loss"] = mean_loss
                if log:
                    values = {
                        "loss": mean_loss,
                        "epoch": step * data.batch_size / shards.n_items,
                        "lr": max(scheduler.get_last_lr()),
                        "items_per_s": (step - logged_at) * data.batch_size / max(elapsed, 1e-9),
                        "wait_share": waited_s / max(elapsed, 1e-9),
                    }
                    if worker.device.type == "cuda":
                        values["peak_memory_gb"] = torch.cuda.max_memory_allocated(worker.device) / 1e9
                    log.write(step, values, total=total, left_s=steps_to_do.left_s(step - first_step))
                started, waited_s, logged_at = time.perf_counter(), 0.0, step

            scored: dict[str, float] = {}
            if parts.val_set is not None and (step % eval_every == 0 or step == stop):
                scored = _validate(model, config, parts, worker, autocast, log)
                results.update(scored)
                if log:
                    log.write(step, scored, prefix="val", total=total)
            if step % save_every == 0 or step == stop:
                checkpoint = None
                if worker.rank == 0:
                    about = {"config": dict(resolved or {}), "class_names": parts.class_names}
                    checkpoint = save_run(
                        store, step, model, optimizer, shards.manifest, data.batch_size, scored, about
                    )
                    store.prune(loop.keep_last, task.metric_name, higher_is_better=task.higher_is_better)
                worker.barrier()
                report(checkpoint, scored or {"step": step})
                started, waited_s, logged_at = time.perf_counter(), 0.0, step
    return results


def open_stream(config: TrainConfig, parts: Parts, worker: Worker, start_step: int, stop_step: int) -> BatchStream:
    """The training stream of one worker, from one optimiser step to another."""
    data, shards = config.data, parts.train_set
    fields = ("latent", *text_fields(shards.schema, data.text)) if parts.task.uses_text else ("latent",)
    return BatchStream(
        shards,
        order_of(shards, seed=config.loop.seed, window_shards=data.window_shards),
        batch_size=data.batch_size,
        rank=worker.rank,
        world=worker.world,
        position=start_step * data.batch_size,
        stop=stop_step * data.batch_size,
        fields=fields,
        draw_seed=config.loop.seed,
        draw=parts.task.row_draw,
        labels=_labels(data.latents, parts),
        threads=data.threads,
        ahead=data.ahead,
        allocate=pinned_allocator(worker.device),
    )


def _labels(latents: str, parts: Parts) -> Callable[[Sample], Mapping[str, np.ndarray]]:
    """The labels of a sample, and its pixels if latents are encoded online."""
    if latents == "cached":
        return parts.task.labels
    load_pixels, labels = parts.load_pixels, parts.task.labels
    if load_pixels is None or parts.encoders.latents is None:
        raise ConfigError("data.latents is 'online', but no pixels can be loaded: set data.source.")
    return lambda sample: {**labels(sample), PIXELS: load_pixels(sample)}


def _validate(
    model: Perception,
    config: TrainConfig,
    parts: Parts,
    worker: Worker,
    autocast: Callable[[], torch.autocast],
    log: RunLog | None,
) -> dict[str, float]:
    """Scores of the validation set, the same on every worker; a long pass says how far this worker is."""
    assert parts.val_set is not None
    share = "[val]" if worker.world == 1 else f"[val, worker {worker.rank} of {worker.world}]"
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
        progress=reports(share, "records", log.say) if log else None,
    )
    metric = metric.joined(worker.gathered(metric.state))
    check_count(metric, parts.task, parts.val_set)
    return metric.compute()


def autocast_of(precision: str, device: torch.device) -> Callable[[], torch.autocast]:
    """The context a forward pass runs in: `bfloat16`, `float32`, or `auto` (bfloat16 on CUDA only)."""
    bfloat16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)


def _step_seed(seed: int, step: int, rank: int) -> int:
    # Three odd multipliers keep neighbouring (step, rank) pairs apart; 63 bits is what manual_seed takes.
    return (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**63
