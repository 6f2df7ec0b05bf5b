"""The figures of a forecast training run: parameters, bytes, shapes and steps, as numbers and as lines for a person.

Owns the arithmetic of memory (weights, gradients, AdamW's state) and the wording. Activations are counted by
`vpd.training.memory.activations`; what is assembled, by `forecast.training`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion_perception.forecast import unbuilt
from diffusion_perception.forecast.network import moment_shares, precisions
from diffusion_perception.forecast.training import TrainingForecast
from pipeline.building.plan import size_text

if TYPE_CHECKING:
    from torch import nn

CURVE_POINTS = 100_000  # at most so many steps of a schedule are looked at


@dataclass(frozen=True)
class Memory:
    """What one worker holds all the time."""

    parameters: int
    trained: int  # of them
    weight_bytes: int  # with buffers
    gradient_bytes: int
    optimiser_bytes: int  # two moments and a step count of every trained tensor, or of its share of them


def memory_of(model: nn.Module, shared_by: int = 1) -> Memory:
    """The memory of a network in training, from its shapes; it may be on the meta device.

    Args:
        shared_by: workers that each keep the moments of a share (`optim.sharded`); the largest share counts.
    """
    from vpd.training.step.sharded import largest_share

    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients, share = sum(parameter.nbytes for parameter in trained), largest_share(trained, shared_by)
    return Memory(
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in trained),
        weight_bytes=sum(tensor.nbytes for tensor in [*parameters, *model.buffers()]),
        gradient_bytes=gradients,
        optimiser_bytes=sum(2 * parameter.nbytes + 4 for parameter in share),
    )


def lines(forecast: TrainingForecast) -> Iterator[str]:
    """The plan of a run, for a person."""
    yield from _sets(forecast)
    begins = f"goes on from step {forecast.step}" if forecast.step else "begins at step 0"
    yield f"run folder {forecast.job.folder}: {begins}"
    for change in forecast.changed:
        yield f"changed since that step: {change}"
    yield _schedule(forecast)
    loaded = [f"{setting['name']} for {kind}" for kind, setting in forecast.encoders.items()]
    yield f"frozen encoders on every worker: {', '.join(loaded) or 'none, everything is stored'}"
    if forecast.sets.sample is not None:
        sample = forecast.sets.sample
        tensors = {"latents": sample.latents, "text": sample.text, **sample.labels}
        yield "batch of a worker: " + ", ".join(
            f"{name} {[forecast.samples, *tensor.shape[1:]]} {str(tensor.dtype).removeprefix('torch.')}"
            for name, tensor in tensors.items()
            if tensor is not None
        )
    yield from _network(forecast)


def _sets(forecast: TrainingForecast) -> Iterator[str]:
    from vpd.training.feeding import unseen_views

    job, sets, steps = forecast.job, forecast.sets, forecast.total_steps
    for setting, why in sets.lacking.items():
        yield f"{setting} is NOT THERE, so the run itself would be refused: {why}"
    several = f"{job.run.min_workers} to {job.run.workers}" if job.run.min_workers else f"{job.run.workers}"
    where = f"on {several} worker(s)" if job.run.workers else "in this process"
    work = f"{steps or 'an unknown number of'} steps of {job.data.batch_size} {where}"
    if sets.train is None:
        yield f"assumed instead: {unbuilt.assumption(sets.sample)}" if sets.sample else "nothing is assumed instead"
        yield work if steps else f"{work}, {job.loop.epochs:g} epochs"
        return
    for shards in sets.named.values():
        told = (*forecast.task.notices(shards.manifest), unseen_views(shards.manifest))
        yield from (f"WARNING: {notice}" for notice in told if notice)
    evaluated = f"evaluated on {sets.val.manifest.name}: {sets.val.n_records} records" if sets.val else "not evaluated"
    epochs = steps * job.data.batch_size / sets.train.n_items
    yield f"{sets.train.manifest.name}: {sets.train.n_items} items, {work}, {epochs:.1f} epochs; {evaluated}"


def _schedule(forecast: TrainingForecast) -> str:
    total, lr, name = forecast.total_steps, forecast.job.optim.lr, forecast.job.optim.schedule["name"]
    if forecast.curve is None:
        return f"schedule {name}: {lr:.3g} times its curve"
    steps = range(0, total, max(1, total // CURVE_POINTS))
    factors = [forecast.curve(step) for step in steps]
    rise = steps[factors.index(max(factors))]
    warm_up = f"warm-up of {rise} steps" if rise else "no warm-up"
    return f"schedule {name}: {warm_up} to {lr * max(factors):.3g}, {lr * factors[-1]:.3g} at the end"


def _network(forecast: TrainingForecast) -> Iterator[str]:
    if forecast.assumed:
        yield f"assumed: {forecast.assumed}"
    yield f"context: {forecast.sets.tokens} token(s)"
    if forecast.model is None:
        yield forecast.absent
        return
    levels = forecast.model.backbone.spec(forecast.sets.tokens).levels
    yield "levels: " + ", ".join(
        f"{level.name} {level.channels}{f' + {level.map_tokens} maps' if level.map_tokens else ''} at 1/{level.stride}"
        for level in levels
    )
    shares = moment_shares(forecast.job)
    memory = memory_of(forecast.model, shares)
    yield (
        f"parameters: {memory.parameters:,}, of which {memory.trained:,} are trained and "
        f"{memory.parameters - memory.trained:,} frozen"
    )
    for group in forecast.groups:
        count = sum(parameter.numel() for parameter in group["params"])
        yield (
            f"  group {group['name']}: {len(group['params'])} tensors, {count:,} parameters, lr {group['lr']:.2e}, "
            f"weight decay {group['weight_decay']:g}"
        )
    shared = f" of its share (1 of {shares})" if shares > 1 else ""
    averaged = f"their average {size_text(memory.gradient_bytes)}, " if forecast.job.optim.ema_decay else ""
    yield (
        f"memory of a worker: weights {size_text(memory.weight_bytes)}, gradients {size_text(memory.gradient_bytes)}, "
        f"AdamW {size_text(memory.optimiser_bytes)}{shared}, {averaged}activations {_activations(forecast)}"
    )
    yield from _kept(forecast)
    peaks = [f"{size_text(amount)} in {name}" for name, amount in forecast.peak_bytes.items() if amount is not None]
    if peaks:
        aside = " beside its frozen encoders" if forecast.encoders else ""
        yield f"at the peak of a step a worker holds {' or '.join(peaks)}{aside}; leave a tenth of its memory free"


def _kept(forecast: TrainingForecast) -> Iterator[str]:
    """What `loop.keep_features_gb` comes to."""
    from vpd.training.step.kept_features import bytes_of_sample, samples_held, samples_of

    job, train, sample = forecast.job, forecast.sets.train, forecast.sets.sample
    if not job.loop.keep_features_gb or train is None or sample is None or forecast.model is None:
        return
    backbone, number = forecast.model.backbone, {"bfloat16": 2}
    view_px = backbone.facts.latents.size_px(*sample.latents.shape[-2:])
    levels, n_samples = backbone.spec(forecast.sets.tokens).levels, samples_of(job.training, train)
    for precision in precisions(job):
        size = bytes_of_sample(levels, view_px, number.get(precision, 4))
        held = samples_held(job.loop, n_samples, size)
        rest = "" if held == n_samples else f"; the other {n_samples - held:,} are computed whenever they come"
        where = job.loop.keep_features_in or "memory"
        yield (
            f"features that a worker keeps in {where}: {held:,} samples of {size_text(size)} in {precision}, "
            f"{size_text(held * size)}{rest}"
        )


def _activations(forecast: TrainingForecast) -> str:
    counted = forecast.activation_bytes
    known = [f"{size_text(amount)} in {name}" for name, amount in counted.items() if amount is not None]
    if not known:
        return "not counted: " + ("the network asks for values" if counted else "no sample of the set was read")
    left_out = "what kernels use meanwhile" if forecast.sets.train else "the loss and what kernels use meanwhile"
    return f"about {' or '.join(known)} (an estimate: what backward needs, without {left_out})"
