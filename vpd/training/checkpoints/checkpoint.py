"""Checkpoints on any fsspec storage: safetensors weights, a JSON state, and a marker written last.

Owns the folder layout `<run>/step-000001234/{model.safetensors, optimizer.safetensors, state.json, checkpoint.json}`.
`checkpoint.json` is the completion marker (`vpd.training.checkpoints.marker`): it lists every other file with its size
and hash. A folder without it is unfinished, and does not exist for a reader; what is read of a finished one is what was
written, or CorruptCheckpoint (of version 0.1, which wrote no hashes, as far as sizes say). So a run killed at any
moment resumes from the newest checkpoint that was really finished, without asking the controller that may have died
with it (every kill lost the newest registered one: docs/methods/ray.md#checkpoints-of-ray-train). What goes into the
tensors, and which checkpoint a run goes on from, is left to `vpd.training.resume`, when they are written to
`vpd.training.checkpoints.writer`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import torch

from shards.errors import ContractError, CorruptCheckpoint
from vpd.training.checkpoints import marker
from vpd.training.checkpoints.checked_files import corrupt_if_gone, read_bytes, read_json, read_shapes, read_tensors
from vpd.training.checkpoints.durable_files import created, settle
from vpd.training.checkpoints.marker import FileRecord
from vpd.training.checkpoints.split import files_of, parts_of, stem_of
from vpd.training.checkpoints.tensor_file import write_tensors

STATE = "state.json"
STREAMS = 4  # files written side by side
_FOLDER = re.compile(r"step-(\d{9,})")


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint in storage."""

    path: str  # without protocol: what the file system of the store takes
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def hashed(self) -> bool:
        """Whether what is read of it is compared byte for byte; of version 0.1, sizes alone are."""
        return all(file.xxh128 for file in self.files.values())


@dataclass(frozen=True)
class Damage:
    """A checkpoint that was finished, and is not what was written any more."""

    step: int
    what: str  # which file, and how


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
            tensors: per kind (`model`, `optimizer`, `average`) its named tensors.
            state: JSON-able position and configuration.
            metrics: evaluation results at this step, if there were any.
        """
        path = self.path_of(step)
        self.discard(step)  # left over from a killed run, or this step is being saved again
        self.fs.makedirs(path, exist_ok=True)
        parts = {name: part for stem, named in tensors.items() for name, part in parts_of(stem, named).items()}

        def write(name: str) -> FileRecord:
            with created(self.fs, f"{path}/{name}") as file:
                head = write_tensors(file, parts[name])
            return FileRecord(file.n_bytes, file.xxh128, *head)

        with ThreadPoolExecutor(STREAMS, thread_name_prefix="checkpoint") as pool:
            files = dict(zip(parts, pool.map(write, parts), strict=True))
        with created(self.fs, f"{path}/{STATE}") as file:
            file.write(json.dumps(state, indent=1, sort_keys=True).encode())
        files[STATE] = FileRecord(file.n_bytes, file.xxh128)
        # All of it is on the disk before there is a marker, which goes through a rename: it is never seen half-written.
        with created(self.fs, f"{path}/{marker.NAME}.partial") as file:
            file.write(marker.sealed(step, files, metrics or {}))
        settle(self.fs, path, self.root)
        self.fs.mv(f"{path}/{marker.NAME}.partial", f"{path}/{marker.NAME}")
        settle(self.fs, path)
        return Checkpoint(path, step, dict(metrics or {}), files)

    def path_of(self, step: int) -> str:
        return f"{self.root}/step-{step:09d}"

    def discard(self, step: int) -> None:
        """Remove what there is of a step, finished or not."""
        self.fs.invalidate_cache()
        if self.fs.exists(self.path_of(step)):
            self._remove(self.path_of(step))

    def sweep(self) -> list[str]:
        """Remove what killed writers left: folders of checkpoints without a marker. Not while one is being written."""
        left = [path for path, _ in self._folders() if not self.fs.exists(f"{path}/{marker.NAME}")]
        for path in left:
            self._remove(path)
        return left

    def complete(self) -> list[Checkpoint]:
        """All finished checkpoints whose files have the sizes that were written, oldest first."""
        return self._scanned()[0]

    def damaged(self) -> list[Damage]:
        """Finished ones that do not, or whose marker is not what was written, oldest first."""
        return self._scanned()[1]

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
            CorruptCheckpoint: it is damaged, or a damaged one may be the one that is meant.
        """
        complete, damaged = self._scanned()
        if which == "last":
            found = next(iter(complete[::-1]), None)
            damaged = [one for one in damaged if found is None or one.step > found.step]
        elif which == "best":
            found = self.best(metric, higher_is_better=higher_is_better) or next(iter(complete[::-1]), None)
        else:
            found = next((c for c in complete if which.isdigit() and c.step == int(which)), None)
            damaged = [one for one in damaged if which.isdigit() and one.step == int(which)]
        steps = [c.step for c in complete]
        if damaged:
            raise CorruptCheckpoint(
                f"{self.url}: '{which}' may be step {damaged[-1].step}, which is damaged: {damaged[-1].what}. "
                f"Name another one (steps {steps or 'none'}), train on from there, or copy this one again."
            )
        if not steps:
            raise ContractError(
                f"{self.url}: no finished checkpoint there, and no model. Expected the folder or URL of a run or of a "
                "model, or hf://owner/name for one of the hub. Check the name, or train first."
            )
        if found is None:
            raise ContractError(
                f"{self.url}: no finished checkpoint '{which}'; finished steps found: {steps}. "
                "Name one of them, 'last' or 'best'."
            )
        return found

    def load(self, checkpoint: Checkpoint, stem: str) -> dict[str, torch.Tensor]:
        """The tensors of one kind of a checkpoint, on the CPU.

        Raises:
            CorruptCheckpoint: they are not what was written; so do the three below.
        """
        names = files_of(stem, checkpoint.files)
        read = (read_tensors(self.fs, f"{checkpoint.path}/{name}", checkpoint.files[name]) for name in names)
        return {key: value for part in read for key, value in part.items()}

    def load_all(self, checkpoint: Checkpoint) -> dict[str, dict[str, torch.Tensor]]:
        """The same of every kind, by its stem."""
        stems = dict.fromkeys(stem for name in checkpoint.files if (stem := stem_of(name)))
        return {stem: self.load(checkpoint, stem) for stem in stems}

    def shapes(self, checkpoint: Checkpoint, stem: str) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor of one kind of a checkpoint; reads headers only."""
        names = files_of(stem, checkpoint.files)
        read = (read_shapes(self.fs, f"{checkpoint.path}/{name}", checkpoint.files[name]) for name in names)
        return {key: shape for part in read for key, shape in part.items()}

    def load_state(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """The JSON state of a checkpoint."""
        return read_json(self.fs, f"{checkpoint.path}/{STATE}", checkpoint.files[STATE])

    def holds(self, checkpoint: Checkpoint, stem: str) -> bool:
        """Whether a checkpoint has tensors of this kind."""
        return bool(files_of(stem, checkpoint.files))

    def prune(self, keep_last: int, metric: str, *, higher_is_better: bool = True) -> None:
        """Delete all but the newest `keep_last` finished checkpoints and the best one. Damaged ones go, too, if they
        are older than the newest."""
        finished, damaged = self._scanned()
        best = self.best(metric, higher_is_better=higher_is_better)
        newest = finished[-max(keep_last, 1) :]
        kept = {c.path for c in newest} | ({best.path} if best else set())
        past = [self.path_of(one.step) for one in damaged if newest and one.step < newest[-1].step]
        for path in [*(c.path for c in finished if c.path not in kept), *past]:
            self._remove(path)

    def _folders(self) -> list[tuple[str, int]]:
        """Folders of checkpoints with their steps, finished or not, oldest first."""
        self.fs.invalidate_cache()
        if not self.fs.isdir(self.root):
            return []
        named = [(str(path), _FOLDER.fullmatch(Path(path).name)) for path in self.fs.ls(self.root, detail=False)]
        return sorted(((path, int(name[1])) for path, name in named if name), key=lambda known: known[1])

    def _scanned(self) -> tuple[list[Checkpoint], list[Damage]]:
        complete, damaged = [], []
        for path, step in self._folders():
            try:
                found = self._marked(path, step)
            except CorruptCheckpoint as error:
                damaged.append(Damage(step, str(error)))
                continue
            complete += [found] if found else []
        return complete, damaged

    def _marked(self, path: str, step: int) -> Checkpoint | None:
        """The checkpoint of a folder; None without a marker."""
        name = f"{path}/{marker.NAME}"
        if not self.fs.exists(name):
            return None
        try:
            marked, files, metrics = marker.opened(read_bytes(self.fs, name, marker.LIMIT_BYTES))
        except ValueError as error:
            raise CorruptCheckpoint(f"{name}: {error}") from error
        if marked != step:
            raise CorruptCheckpoint(f"{name}: is the marker of step {marked}")
        for file, record in files.items():
            with corrupt_if_gone(f"{path}/{file}"):
                n_bytes = self.fs.size(f"{path}/{file}")
            if n_bytes != record.n_bytes:
                raise CorruptCheckpoint(f"{path}/{file}: has {n_bytes} bytes, {record.n_bytes} were written")
        return Checkpoint(path, step, metrics, files)

    def _remove(self, path: str) -> None:
        # Marker first: a removal that is interrupted leaves an unfinished folder, never a plausible one.
        if self.fs.isfile(f"{path}/{marker.NAME}"):
            self.fs.rm_file(f"{path}/{marker.NAME}")
        self.fs.rm(path, recursive=True)
