"""What a checkpoint of a run holds, and how a run goes on from one.

Owns the content: model, optimiser and averaged tensors by parameter name, the position, the fingerprint of the training
set and the resolved configuration. The files and their completion marker are `vpd.training.checkpoints.checkpoint`'s,
the choice among several `vpd.training.checkpoints.newest`'s. Random states are not saved: they are functions of the
position (`vpd.training.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from shards.contract.manifest import Manifest, recipe_difference
from shards.errors import ConfigError, FingerprintMismatch
from vpd.model.regimes import merged
from vpd.model.settings import ModelConfig
from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.checkpoints.newest import newest_loaded, newest_readable
from vpd.training.step.averaging import WeightAverage
from vpd.training.worker import Worker

AVERAGE = "average"  # stem of the averaged weights, of those that learn
SHOWN = 3  # weights in a message


def contents(
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    manifest: Manifest,
    batch_size: int,
    about: Mapping[str, Any],
    average: WeightAverage | None = None,
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Tensors and state after `step` finished steps, not copied; `about` is what else a reader of the checkpoint needs:
    the run's configuration as plain data under `config`, the names of its classes."""
    state = {
        "step": step,
        "position": step * batch_size,
        "batch_size": batch_size,
        "train_set": manifest.name,
        "fingerprint": manifest.fingerprint,
        "recipe": manifest.recipe,
        "schema": manifest.schema.to_json(),
        **about,
    }
    tensors = {"model": model.state_dict(), "optimizer": _optimizer_tensors(model, optimizer)}
    return tensors | ({AVERAGE: average.tensors()} if average else {}), state


def save_run(
    store: CheckpointStore,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    manifest: Manifest,
    batch_size: int,
    metrics: Mapping[str, float],
    about: Mapping[str, Any],
) -> Checkpoint:
    """Write a checkpoint while the caller waits; arguments as of `contents`."""
    return store.save(step, *contents(step, model, optimizer, manifest, batch_size, about), metrics)


def restore_run(
    store: CheckpointStore,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    manifest: Manifest,
    batch_size: int,
    say: Callable[[str], None] | None = None,
    average: WeightAverage | None = None,
    worker: Worker | None = None,
) -> int:
    """Load the newest sound checkpoint into model and optimiser; returns the step to go on from (0: none found).

    Raises:
        FingerprintMismatch, ConfigError, CorruptCheckpoint: as of `resumable`.
    """
    loaded = newest_loaded(store, worker or Worker())
    if loaded is None:
        return 0
    checkpoint, tensors = loaded.checkpoint, loaded.tensors
    _check_same_run(store, loaded.state, manifest, batch_size)
    check_network(store, checkpoint, model)
    model.load_state_dict(tensors["model"])
    _load_optimizer(model, optimizer, tensors["optimizer"])
    averaged = AVERAGE in tensors
    if average:
        average.restore(tensors.get(AVERAGE))
    if say:
        anew = "; the average of the weights begins here" if average and not averaged else ""
        believed = "" if checkpoint.hashed else "; it is of version 0.1, without hashes: its sizes alone were compared"
        passed = f"; {loaded.passed}" if loaded.passed else ""
        say(f"resumed from {checkpoint.path} at step {checkpoint.step}{anew}{believed}{passed}")
    return checkpoint.step


def resumable(store: CheckpointStore, manifest: Manifest, batch_size: int) -> Checkpoint | None:
    """The checkpoint a run goes on from, as far as is known without reading its tensors; None for a new run.

    Raises:
        FingerprintMismatch: the run was trained on another build of its set; the message lists every difference.
        ConfigError: the global batch size changed, so the position has no meaning.
        CorruptCheckpoint: all that were finished are damaged.
    """
    newest = newest_readable(store)
    if newest is None:
        return None
    checkpoint, state = newest
    _check_same_run(store, state, manifest, batch_size)
    return checkpoint


def _check_same_run(store: CheckpointStore, state: Mapping[str, Any], manifest: Manifest, batch_size: int) -> None:
    if state["fingerprint"] != manifest.fingerprint:
        difference = "\n  ".join(recipe_difference(state["recipe"], manifest.recipe))
        raise FingerprintMismatch(
            f"{store.url} was trained on {state['train_set']} with fingerprint {state['fingerprint'][:12]}, but "
            f"{manifest.name} now has {manifest.fingerprint[:12]}:\n  {difference}\n"
            "Train on the set the run began with, or start a new run under another name (run.name)."
        )
    if state["batch_size"] != batch_size:
        raise ConfigError(
            f"{store.url} was trained with data.batch_size {state['batch_size']}, now it is {batch_size}. The position "
            "of a run is counted in its batches: keep the size, or start a new run under another name (run.name)."
        )


def check_network(store: CheckpointStore, checkpoint: Checkpoint, model: nn.Module) -> None:
    """ConfigError unless a checkpoint's weights are those of a network of these names and shapes."""
    saved = store.shapes(checkpoint, "model")
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    apart = [
        f"{name}: {saved.get(name, 'absent')} there, {wanted.get(name, 'absent')} now"
        for name in dict.fromkeys([*wanted, *saved])
        if saved.get(name) != wanted.get(name)
    ]
    if apart:
        shown = "\n  ".join(apart[:SHOWN])
        raise ConfigError(
            f"{checkpoint.path} was saved from another network, {len(apart)} weights differ:\n  {shown}\n"
            "Keep task, backbone and model as the run began, or start a new run under another name (run.name)."
        )


def final_weights(
    store: CheckpointStore, checkpoint: Checkpoint, model: ModelConfig
) -> tuple[dict[str, torch.Tensor], bool]:
    """The weights of a checkpoint as they are evaluated and exported, and whether they are averaged ones: those of the
    plain network, whatever was trained of it (`model.train` of its settings)."""
    weights, averaged = store.load(checkpoint, "model"), store.holds(checkpoint, AVERAGE)
    return merged(weights | (store.load(checkpoint, AVERAGE) if averaged else {}), model.lora), averaged


def move_schedule(scheduler: torch.optim.lr_scheduler.LambdaLR, step: int) -> None:
    """Put the learning rates where `step` finished steps leave them: the curve is a pure function of the step."""
    scheduler.last_epoch = step
    groups = scheduler.optimizer.param_groups
    for group, curve, base in zip(groups, scheduler.lr_lambdas, scheduler.base_lrs, strict=True):
        group["lr"] = base * curve(step)
    scheduler._last_lr = [group["lr"] for group in groups]


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state by parameter name, so that a checkpoint does not depend on the order of the groups."""
    return {
        f"{key}/{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for full, value in tensors.items():
        key, name = full.split("/", 1)
        parameter = parameters[name]
        # Moments lie in memory as their parameter does: a fused step reads both in the order of their bytes.
        place = parameter if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][key] = torch.empty_like(place, dtype=value.dtype).copy_(value)
