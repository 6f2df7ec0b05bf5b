"""The newest checkpoint that is what was written: the one a run goes on from, past those that are damaged.

Owns the choice, the same on every worker, and what is said of the damaged ones. They are left where they are: the run
writes over them when it comes to their steps again. What fits the run in hand is `vpd.training.resume`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from shards.errors import CorruptCheckpoint
from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.worker import Worker

NONE = -1  # no step


@dataclass(frozen=True)
class Loaded:
    """A checkpoint, all of which was read and is what was written, as far as its marker says."""

    checkpoint: Checkpoint
    tensors: Mapping[str, Mapping[str, torch.Tensor]]  # by stem, on the CPU
    state: Mapping[str, Any]
    passed: str = ""  # damaged ones that are newer, for a person


def newest_readable(store: CheckpointStore) -> tuple[Checkpoint, Mapping[str, Any]] | None:
    """The newest one as far as is known without reading its tensors, and its state; None if nothing was ever finished.

    Raises:
        CorruptCheckpoint: all that were finished are damaged.
    """
    damaged = {one.step: one.what for one in store.damaged()}
    for checkpoint in store.complete()[::-1]:
        try:
            store.shapes(checkpoint, "model")
            return checkpoint, store.load_state(checkpoint)
        except CorruptCheckpoint as error:
            damaged[checkpoint.step] = str(error)
    _refuse_all(store, damaged)
    return None


def newest_loaded(store: CheckpointStore, worker: Worker) -> Loaded | None:
    """The newest one that all workers can read; all have to ask. None if nothing was ever finished.

    Raises:
        CorruptCheckpoint: all that were finished are damaged.
    """
    damaged = {one.step: one.what for one in store.damaged()}
    complete = {one.step: one for one in store.complete()}
    while (step := worker.of_the_first(max(complete, default=NONE))) != NONE:
        what, loaded = "another worker found it damaged", None
        try:
            if step not in complete:
                raise CorruptCheckpoint(f"{store.path_of(step)}: is not finished, as a worker sees it")
            checkpoint = complete[step]
            loaded = Loaded(checkpoint, store.load_all(checkpoint), store.load_state(checkpoint))
        except CorruptCheckpoint as error:
            what = str(error)
        if not worker.any_of(torch.tensor(loaded is None, device=worker.device)) and loaded:
            newer = {number: said for number, said in damaged.items() if number > step}
            return Loaded(loaded.checkpoint, loaded.tensors, loaded.state, _listed(newer))
        damaged[step] = what
        complete = {number: one for number, one in complete.items() if number < step}
    _refuse_all(store, damaged)
    return None


def _refuse_all(store: CheckpointStore, damaged: Mapping[int, str]) -> None:
    # Beginning anew would write over them, and they may be wanted still: of a later version, or to be copied again.
    if damaged:
        raise CorruptCheckpoint(
            f"{store.url}: no finished checkpoint can be read: {_listed(damaged)}. Copy them again, or take them away "
            "to begin anew, or start a new run under another name (run.name)."
        )


def _listed(damaged: Mapping[int, str]) -> str:
    return "; ".join(f"step {step} is damaged ({damaged[step]})" for step in sorted(damaged, reverse=True))
