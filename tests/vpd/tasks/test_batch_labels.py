"""Training reads the labels of a batch at once: they are those of its samples, in tasks of others, too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from shards.reading.labelling import Buffers, Room
from vpd.tasks import seg
from vpd.tasks.refer.task import ReferTask
from vpd.tasks.seg.task import SegTask


class OtherClasses(SegTask):
    """Labels of its own, made of one sample, over a task that makes those of a batch."""

    def labels(self, sample: Any) -> dict[str, np.ndarray]:
        return {"label": np.full((2, 3), sample.number, np.uint8)}


class BothWays(OtherClasses):
    def batch_labels(self, samples: Any, room: Room) -> dict[str, np.ndarray]:
        return {"label": np.zeros((len(samples), 2, 3), np.uint8)}


class OtherPictures(ReferTask):
    """Nothing about labels."""


def made(kind: type[SegTask]) -> SegTask:
    task = seg.build(classes=150)
    task.__class__ = kind
    return task


def test_labels_of_a_derived_task_are_those_it_is_trained_on() -> None:
    samples: list[Any] = [SimpleNamespace(number=number, key=str(number)) for number in (4, 9)]
    room = Room(Buffers(np.empty), 2)
    assert made(OtherClasses).batch_labels(samples, room)["label"][:, 0, 0].tolist() == [4, 9]
    assert not made(BothWays).batch_labels(samples, room)["label"].any()
    assert OtherPictures.batch_labels is ReferTask.batch_labels
