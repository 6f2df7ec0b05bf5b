"""Services that show the numbers of runs, one module each, found by its name: `build(about, **options) -> Tracker`.

`log.jsonl` and TensorBoard are written in any case (`vpd.training.telemetry.log`); a tracker is told the same besides.
It may fail at any time, and a training goes on without it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

IDENTITY = "tracked.txt"  # in a run's folder, for as long as the run is the same


@dataclass(frozen=True)
class AboutRun:
    """What a tracker is told of a run.

    Attributes:
        name: of the run.
        identity: the same at every start of this run, and of no other.
        folder: on this machine, to put files into.
        settings: all in force, as plain data.
    """

    name: str
    identity: str
    folder: Path
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Rank 0's. A run that goes on from an earlier step tells the steps behind it again."""

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step; `kind` is `train` or `val`."""
        ...

    def show(self, step: int, name: str, jpeg: bytes) -> None:
        """A picture of a step."""
        ...

    def close(self) -> None:
        """No more comes."""
        ...


def identity_of(files: Any, root: str) -> str:
    """The identity of the run in a folder of an fsspec file system, made at its first start."""
    path = f"{root}/{IDENTITY}"
    if files.exists(path) and (known := files.cat_file(path).decode().strip()):  # empty: of a start that was killed
        return known
    made = secrets.token_hex(8)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(path, made.encode())
    return made
