"""Checkpoints on any fsspec storage: safetensors weights, a JSON state, and a marker written last.

Owns the folder layout `<run>/step-000001234/{model.safetensors, optimizer.safetensors, state.json, checkpoint.json}`.
`checkpoint.json` is the completion marker: it lists every other file with its size, and a folder without it, or with a
file of another size, does not exist for a reader. So a run killed at any moment resumes from the newest checkpoint that
was really finished, without asking the controller that may have died with it (every kill lost the newest registered
one: docs/methods/ray.md#checkpoints-of-ray-train). What goes into the tensors is left to `vpd.training.resume`,
when they are written to `vpd.training.writer`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import torch
from safetensors.torch import load_file

from shards.errors import ContractError
from vpd.training.tensor_file import write_tensors

MARKER = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint in storage."""

    path: str  # without protocol: what the file system of the store takes
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        url: the run's folder: a path or an fsspec URL (`s3://bucket/runs/x`).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.fs, self.root = fsspec.core.url_to_fs(url)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
    ) -> Checkpoint:
        """Write one checkpoint, each byte once and to its place; it exists only once its marker is in place.

        Args:
            tensors: per file stem (`model`, `optimizer`, `average`) its named tensors.
            state: JSON-able position and configuration.
            metrics: evaluation results at this step, if there were any.
        """
        path = self.path_of(step)
        self.discard(step)  # left over from a killed run, or this step is being saved again
        self.fs.makedirs(path, exist_ok=True)
        sizes: dict[str, int] = {}
        for stem, named in tensors.items():
            with self._created(f"{path}/{stem}.safetensors") as file:
                on_cpu = {name: value.detach().cpu().contiguous() for name, value in named.items()}
                sizes[f"{stem}.safetensors"] = write_tensors(file, on_cpu)
        text = json.dumps(state, indent=1, sort_keys=True).encode()
        with self._created(f"{path}/state.json") as file:
            file.write(text)
        sizes["state.json"] = len(text)
        scores = {name: value if math.isfinite(value) else None for name, value in (metrics or {}).items()}
        marker = {"step": step, "files": sizes, "metrics": scores}
        # The marker goes through a rename so that on a file system it is never seen half-written.
        with self._created(f"{path}/{MARKER}.partial") as file:
            file.write(json.dumps(marker, sort_keys=True).encode())
        self.fs.mv(f"{path}/{MARKER}.partial", f"{path}/{MARKER}")
        return Checkpoint(path, step, dict(metrics or {}))

    def path_of(self, step: int) -> str:
        return f"{self.root}/step-{step:09d}"

    def discard(self, step: int) -> None:
        """Remove what there is of a step, finished or not."""
        self.fs.invalidate_cache()
        if self.fs.exists(self.path_of(step)):
            self._remove(self.path_of(step))

    @contextmanager
    def _created(self, path: str) -> Iterator[Any]:
        """A new file of the store, whose bytes are on the disk when it is closed, where there is one to ask."""
        with self.fs.open(path, "wb") as file:
            yield file
            file.flush()
            with suppress(AttributeError, OSError):  # io.UnsupportedOperation is one: a stream to somewhere else
                os.fsync(file.fileno())

    def complete(self) -> list[Checkpoint]:
        """All finished checkpoints, oldest first."""
        if not self.fs.isdir(self.root):
            return []
        self.fs.invalidate_cache()
        found = [
            marked
            for entry in self.fs.ls(self.root, detail=False)
            if Path(entry).name.startswith("step-") and (marked := self._marked(entry)) is not None
        ]
        return sorted(found, key=lambda c: c.step)

    def latest(self) -> Checkpoint | None:
        """The newest finished checkpoint, or None."""
        return next(iter(self.complete()[::-1]), None)

    def best(self, metric: str, *, higher_is_better: bool = True) -> Checkpoint | None:
        """The finished checkpoint with the best value of `metric`; among equals the oldest. None if none has one: a
        score over nothing is NaN, which is never the best, and nor is infinity."""
        scored = [c for c in self.complete() if math.isfinite(c.metrics.get(metric, math.nan))]
        sign = -1.0 if higher_is_better else 1.0
        return min(scored, key=lambda c: sign * c.metrics[metric], default=None)

    def named(self, which: str, metric: str, *, higher_is_better: bool = True) -> Checkpoint:
        """`last`, `best` or a step number, as written on a command line.

        Raises:
            ContractError: there is no such checkpoint; the message lists those that exist.
        """
        if which == "last":
            found = self.latest()
        elif which == "best":
            found = self.best(metric, higher_is_better=higher_is_better) or self.latest()
        else:
            found = next((c for c in self.complete() if which.isdigit() and c.step == int(which)), None)
        if found is None:
            steps = [c.step for c in self.complete()]
            raise ContractError(
                f"{self.url}: no finished checkpoint '{which}'; finished steps found: {steps or 'none'}. "
                "Name one of them, 'last' or 'best', or train first."
            )
        return found

    def load(self, checkpoint: Checkpoint, stem: str) -> dict[str, torch.Tensor]:
        """The tensors of one file of a checkpoint, on the CPU."""
        source = f"{checkpoint.path}/{stem}.safetensors"
        if "file" in _protocols(self.fs):
            return load_file(source)
        with tempfile.TemporaryDirectory() as scratch:
            self.fs.get_file(source, f"{scratch}/{stem}.safetensors")
            return load_file(f"{scratch}/{stem}.safetensors")

    def holds(self, checkpoint: Checkpoint, stem: str) -> bool:
        """Whether a checkpoint has a file of this stem."""
        return bool(self.fs.exists(f"{checkpoint.path}/{stem}.safetensors"))

    def shapes(self, checkpoint: Checkpoint, stem: str) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor of one file of a checkpoint; reads its header only."""
        with self.fs.open(f"{checkpoint.path}/{stem}.safetensors", "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}

    def load_state(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """The JSON state of a checkpoint."""
        return json.loads(self.fs.cat_file(f"{checkpoint.path}/state.json"))

    def prune(self, keep_last: int, metric: str, *, higher_is_better: bool = True) -> None:
        """Delete all but the newest `keep_last` finished checkpoints and the best one."""
        finished = self.complete()
        best = self.best(metric, higher_is_better=higher_is_better)
        kept = {c.path for c in finished[-max(keep_last, 1) :]} | ({best.path} if best else set())
        for old in finished:
            if old.path not in kept:
                self._remove(old.path)

    def _marked(self, path: str) -> Checkpoint | None:
        """The checkpoint of a folder, if a marker says that it is finished: one that cannot be read says nothing."""
        try:
            marker = json.loads(self.fs.cat_file(f"{path}/{MARKER}"))
            whole = all(self.fs.size(f"{path}/{name}") == size for name, size in marker["files"].items())
            step = int(marker["step"])
            scores = {
                str(name): math.nan if value is None else float(value) for name, value in marker["metrics"].items()
            }
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):  # not the marker of this version
            return None
        return Checkpoint(path, step, scores) if whole else None

    def _remove(self, path: str) -> None:
        # Marker first: a removal that is interrupted leaves an unfinished folder, never a plausible one.
        if self.fs.exists(f"{path}/{MARKER}"):
            self.fs.rm_file(f"{path}/{MARKER}")
        self.fs.rm(path, recursive=True)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
