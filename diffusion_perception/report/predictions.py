"""A checkpoint's answers to its validation set, scored one by one: the best and the worst of them, drawn.

Owns which are shown. The pass is `vpd.inference.evaluate`'s, what the encoder saw is drawn by `pipeline.set_page`, what
was answered by the task.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from diffusion_perception.canvases import canvas
from diffusion_perception.set_page import PictureOptions, shown
from pipeline.inspection.drawing import SIDE_PX, Drawing, jpeg
from pipeline.set_page.drawing import draw_record
from shards.errors import ConfigError
from shards.progress import reports
from shards.reading.reader import StoredRecord

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ExampleOptions:
    """Which predictions are shown, and whether features are."""

    count: int  # of the best, and of the worst
    checkpoint: str = "best"  # best, last, or a step number
    limit: int = 0  # > 0: only the first so many records
    pictures: PictureOptions = field(default_factory=PictureOptions)
    features: bool = False  # also show what the backbone makes of the run's fixed pictures


@dataclass(frozen=True)
class Answered:
    """One record with what was answered."""

    score: float
    drawing: Drawing  # what the encoder saw, and that with its labels
    answer: bytes  # JPEG
    said: str  # the sentence that was answered, if it was one


@dataclass
class Extremes:
    """The best and worst of a set, sorted from the best on."""

    wanted: int  # of each
    higher_is_better: bool
    best: list[Answered] = field(default_factory=list)
    worst: list[Answered] = field(default_factory=list)
    scored: int = 0

    def offer(self, score: float, draw: Callable[[], Answered]) -> None:
        """Count one; it is drawn only if it belongs to them so far."""
        if score != score or not self.wanted:  # a score over nothing
            return
        self.scored += 1
        place = self._place(score)
        ahead = len(self.best) < self.wanted or place < self._place(self.best[-1].score)
        behind = len(self.worst) < self.wanted or place > self._place(self.worst[0].score)
        if not (ahead or behind):
            return
        answered = draw()
        for held, belongs in ((self.best, ahead), (self.worst, behind)):
            if belongs:
                bisect.insort(held, answered, key=lambda one: self._place(one.score))
        del self.best[self.wanted :], self.worst[: -self.wanted]

    def apart(self) -> tuple[list[Answered], list[Answered]]:
        """Both, none in both: of a set that is smaller than twice what is wanted, the better half is the best."""
        if self.scored >= 2 * self.wanted:
            return self.best, self.worst
        best = self.best[: -(-self.scored // 2)]
        return best, self.worst[len(self.worst) - (self.scored - len(best)) :]

    def _place(self, score: float) -> float:
        return -score if self.higher_is_better else score


def extremes(run: str, options: ExampleOptions, say: Callable[[str], None]) -> tuple[Extremes, list[str]]:
    """Look at a run's validation set with one of its checkpoints; also what a person must know about the drawings.

    Raises:
        ConfigError: the run names no data.val, or no such folder or model.
        ContractError: no such checkpoint, or a set that is damaged.
    """
    import torch

    from diffusion_perception.assembly.sets import open_set
    from diffusion_perception.trained import load_trained
    from vpd.inference.evaluate import evaluate
    from vpd.training.step.numerics import autocast_of

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load_trained(run, options.checkpoint, device)
    if not trained.data.val:
        raise ConfigError(
            f"{run} names no data.val, so there are no predictions to look at. Leave them out: examples=0."
        )
    task, shards = trained.task, open_set(trained.data.val, trained.data, trained.data.val_subset)
    show, how, notes = shown(shards, options.pictures)
    found = Extremes(options.count, task.higher_is_better)

    def look(record: StoredRecord, outputs: torch.Tensor) -> None:
        metric = task.new_metric()
        targets = task.targets(record)
        task.score(metric, record, outputs, *(() if targets is None else (targets,)))
        score = float(metric.compute()[task.metric_name])
        found.offer(score, lambda: _answered(task, record, outputs, score, show(record), options.pictures))

    evaluate(
        trained.model,
        task,
        shards,
        batch_size=trained.data.eval_batch_size,
        device=device,
        encoders=trained.encoders_for(shards.manifest),
        autocast=autocast_of(trained.precision, device),
        text=trained.data.text,
        vision=trained.model.reads_vision,
        limit=options.limit,
        on_record=look,
        progress=reports("[report]", "records", say),
    )
    return found, [f"{trained.where} on {shards.manifest.name}. {how}", *notes]


def _answered(
    task: Any,
    record: StoredRecord,
    outputs: torch.Tensor,
    score: float,
    seen: np.ndarray | None,
    options: PictureOptions,
) -> Answered:
    answer = next(task.answers(record, outputs))
    picture = Image.fromarray(task.draw(canvas(record, options.pictures), answer))
    picture.thumbnail((SIDE_PX, SIDE_PX))
    sentences = record.meta.get("sentences", ())
    said = str(sentences[0]) if task.uses_text and sentences else ""
    return Answered(score, draw_record(record, seen), jpeg(picture), said)
