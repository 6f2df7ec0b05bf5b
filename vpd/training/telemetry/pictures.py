"""The same validation pictures with their predictions at every evaluation.

Owns which they are and how they are drawn. They are drawn beside the scores, of outputs that are there anyway, so
nothing waits for the device between two steps; where they go is `vpd.training.telemetry.log`'s.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from PIL import Image

from shards.reading.reader import ShardSet, StoredRecord
from vpd.drawing.strip import with_legend
from vpd.drawing.style import Style
from vpd.tasks import Pictured, Task
from vpd.training.feeding import Parts
from vpd.training.settings import TrainConfig
from vpd.training.telemetry.log import RunLog
from vpd.training.worker import Worker

SIDE_PX = 320  # the longer one of what is kept
STRIDE = 48  # records: what 1, 2, 3, 4, 6, 8, 12 and 16 workers divide, so that the first of them has the same records
_PAPER = 235  # grey, where there is no picture to draw on

Canvas = Callable[[StoredRecord], np.ndarray]  # what a prediction is drawn on: uint8 [H, W, 3], of the picture's size


def fixed_records(n_records: int, count: int, world: int) -> list[int]:
    """The records that are drawn: of `count` equal parts of the set, the first one of each that is the first worker's.

    Where a set has room, numbers are multiples of STRIDE and so the same on most numbers of workers.
    """
    stride = math.lcm(STRIDE, world)
    if n_records < count * stride:
        stride = world
    wanted = (-(-part * n_records // (count * stride)) * stride for part in range(count))
    return sorted({number for number in wanted if number < n_records})


class FixedPictures:
    """Draws them as their records are scored.

    Args:
        count: how many.
        show: is given a name and a JPEG.
        say: is told, once, why nothing can be drawn: a picture is no reason to end a run.
    """

    def __init__(
        self,
        task: Task,
        shards: ShardSet,
        count: int,
        world: int,
        class_names: Sequence[str],
        canvas: Canvas | None,
        show: Callable[[str, bytes], None],
        say: Callable[[str], None],
    ) -> None:
        numbers = fixed_records(shards.n_records, count, world) if isinstance(task, Pictured) else []
        self.keys = {shards.paged.key(number) for number in numbers}
        self._task, self._names, self._canvas = task, tuple(class_names), canvas or paper
        self._show, self._say = show, say

    def scored(self, record: StoredRecord, outputs: torch.Tensor) -> None:
        """Draw a record, if it is one of them, from its outputs `[N, C, h, w]`."""
        if record.key not in self.keys:
            return
        try:
            self._show(record.key, self._drawn(record, outputs))
        except Exception as error:
            self._say(f"{record.key} is not drawn, {type(error).__name__}: {error}; no more pictures of this start")
            self.keys = set()

    def _drawn(self, record: StoredRecord, outputs: torch.Tensor) -> bytes:
        sentences = record.meta.get("sentences", ()) if self._task.uses_text else ()
        style = Style(self._names, sentence=str(sentences[0]) if sentences else "")
        canvas = self._canvas(record)
        (answer,) = islice(self._task.answers(record, outputs), 1)
        drawn = Image.fromarray(self._task.draw(canvas, answer, style))
        drawn.thumbnail((SIDE_PX, SIDE_PX))
        legend = self._task.legend(canvas, answer, style)
        encoded = io.BytesIO()
        Image.fromarray(with_legend(np.asarray(drawn), legend)).save(encoded, "JPEG", quality=85)
        return encoded.getvalue()


def pictures_of_run(
    config: TrainConfig, parts: Parts, worker: Worker, log: RunLog | None, step: Callable[[], int]
) -> FixedPictures | None:
    """Those of a run, which go to its log; None on other workers than the first, and where none are asked for.

    Args:
        step: the run's step, asked when a picture is shown.
    """
    if log is None or parts.val_set is None or not config.loop.pictures:
        return None

    def show(name: str, jpeg: bytes) -> None:
        log.show(step(), name, jpeg)

    about = (parts.class_names, parts.canvas)
    return FixedPictures(parts.task, parts.val_set, config.loop.pictures, worker.world, *about, show, log.say)


def paper(record: StoredRecord) -> np.ndarray:
    """Grey, uint8 [H, W, 3], of the record's size."""
    return np.full((int(record.meta["height"]), int(record.meta["width"]), 3), _PAPER, np.uint8)
