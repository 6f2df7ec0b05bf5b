"""Checkpoints written beside the next steps.

Owns the snapshot in host memory that the steps cannot change, the thread that writes it once, straight to its place,
and what follows when a store refuses: tries again, says so, and lets the training go on. What a finished checkpoint is,
`vpd.training.checkpoints.checkpoint` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from shards.errors import NotSaved
from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore

ATTEMPTS = 4
PAUSE_S = 1.0  # before the second attempt; doubled before each further one


class CheckpointWriter:
    """Writes one checkpoint at a time.

    Args:
        keep: deletes what is no longer needed, after each that is finished.
        say: where failures are told.
        first: done before a checkpoint is finished, such as bringing the log of its steps to safety.
    """

    def __init__(
        self,
        store: CheckpointStore,
        keep: Callable[[], None],
        say: Callable[[str], None],
        first: Callable[[], None] = lambda: None,
    ) -> None:
        self.store, self._keep, self._say, self._first = store, keep, say, first
        self._thread: threading.Thread | None = None
        self._failed: tuple[int, Exception] | None = None
        self._host: dict[tuple[str, str], torch.Tensor] = {}

    def begin(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> Checkpoint:
        """Take a snapshot and begin to write it, once the one before is written; returns what it will be."""
        self.wait()
        snapshot = self._snapshot(tensors)
        self._thread = threading.Thread(
            target=self._write, args=(step, snapshot, dict(state), dict(metrics)), name="checkpoint"
        )
        self._thread.start()
        return Checkpoint(self.store.path_of(step), step, dict(metrics))

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Wait for the last checkpoint.

        Raises:
            NotSaved: it could not be written.
        """
        self.wait()
        if self._failed:
            step, error = self._failed
            newest = self.store.latest()
            kept = f"the newest is {newest.path}" if newest else "there is none"
            raise NotSaved(
                f"{self.store.url}: the checkpoint of step {step}, the last one, could not be written: "
                f"{type(error).__name__}: {error}. Of the finished checkpoints {kept}. Make room or mend the store; "
                "the same command goes on from there."
            ) from error

    def _snapshot(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
        """Copies on the CPU, in buffers that are kept, since to make page-locked ones takes long."""
        devices = set()
        for stem, named in tensors.items():
            for name, tensor in named.items():
                buffer = self._host.get((stem, name))
                if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                    buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                    self._host[stem, name] = buffer
                buffer.copy_(tensor.detach(), non_blocking=True)
                devices.add(tensor.device)
        for device in devices:
            if device.type == "cuda":
                torch.cuda.current_stream(device).synchronize()
        return {stem: {name: self._host[stem, name] for name in named} for stem, named in tensors.items()}

    def _write(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._first()
                self.store.save(step, tensors, state, metrics)
                self._failed = None
                break
            except Exception as error:  # stores raise errors of their libraries; told below, raised by `close`
                self._failed = step, error
                with suppress(Exception):  # half a checkpoint takes room, and is none for a reader
                    self.store.discard(step)
                again = f"trying again ({attempt} of {ATTEMPTS})" if attempt < ATTEMPTS else "going on without it"
                self._say(f"checkpoint of step {step} was not written, {type(error).__name__}: {error}; {again}")
                if attempt == ATTEMPTS:
                    return
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
        try:
            self._keep()
        except Exception as error:  # what is too much costs room, and is deleted after the next one
            self._say(f"old checkpoints could not be deleted, {type(error).__name__}: {error}")
