"""The fixed validation pictures of a run at some of its evaluations, as its TensorBoard has them.

Owns which evaluations are shown. Which pictures they are is `vpd.training.telemetry.pictures`', the reading
`vpd.training.telemetry.board`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.storage.storage import open_folder

SHOWN = 6  # evaluations of a picture: the first, the last, and some evenly between
BOARD, EVENTS = "tensorboard", "events.out.tfevents.*"

OverTime = Mapping[str, tuple[tuple[int, bytes], ...]]  # record -> step and JPEG, in order


def drawn_over_time(url: str, storage: Mapping[str, Any] | None = None) -> OverTime:
    """What a run at a folder or URL has drawn; nothing where it drew none."""
    from vpd.training.telemetry.board import pictures_on

    board = open_folder(url, storage_options=storage if "://" in url else None).below(BOARD)
    names = board.names(EVENTS)
    by_record: dict[str, list[tuple[int, bytes]]] = {}
    with tempfile.TemporaryDirectory(prefix="report-") as temporary:
        for name in names:
            board.bring(name, Path(temporary) / name)
        for one in pictures_on(temporary) if names else ():
            by_record.setdefault(one.name, []).append((one.step, one.encoded))
    return {name: tuple(some(found)) for name, found in by_record.items()}


def some(found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """SHOWN of them at most, evenly, with both ends."""
    if len(found) <= SHOWN:
        return found
    return [found[round(part * (len(found) - 1) / (SHOWN - 1))] for part in range(SHOWN)]
