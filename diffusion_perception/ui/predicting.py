"""Predictions for the page: one model in memory at a time, each answer drawn and as files to take away.

Owns what a person is asked for a model. What is drawn and written is the task's.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusion_perception.outside_tasks import check_pictured
from shards.errors import ConfigError

if TYPE_CHECKING:
    from diffusion_perception.predicting.predictor import Predictor
    from vpd.drawing.style import Style
    from vpd.tasks import Task

NAME, DRAWN = "prediction", "drawn.png"
UNASKED = (".ply", ".tiff")  # needs a camera; is a .tif
KEPT = 8  # answers whose files stay


@dataclass(frozen=True)
class Asks:
    """What a model needs beside a picture."""

    sentence: bool
    classes: tuple[str, ...]  # of scenes, to choose from
    depth: bool  # its colours are a choice


@dataclass(frozen=True)
class Answered:
    """An answer: drawn, uint8 [H, W, 3], in words, and as files."""

    drawn: np.ndarray
    title: str
    files: tuple[str, ...]


class Predicting:
    """Models by the places they were asked for.

    Raises:
        ContractError: a place is neither a run with a finished checkpoint nor a model; no weights are read for that.
    """

    def __init__(self, places: Sequence[str], checkpoint: str, device: str, memory_gb: float = 0.0) -> None:
        from diffusion_perception.trained import described

        self._how = checkpoint, device, memory_gb
        self._known: dict[str, tuple[Task, tuple[str, ...]]] = {}
        for place in places:
            task, names, _ = described(place, checkpoint)
            check_pictured(task)
            self._known[place] = task, names
        self._loaded: tuple[str, Predictor] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="diffusion-perception-ui-")
        self._made: list[Path] = []

    @property
    def places(self) -> list[str]:
        return list(self._known)

    def asks(self, place: str) -> Asks:
        """What a model needs, from its settings alone."""
        task, names = self._known[place]
        depth = task.name == "depth"
        return Asks(task.uses_text, names if depth else (), depth)

    def answer(
        self, place: str, image: np.ndarray | None, sentence: str = "", class_name: str = "", colormap: str = "dusk"
    ) -> Answered:
        """Predict one picture.

        Args:
            image: uint8 [H, W, 3].

        Raises:
            ConfigError: no picture, no sentence where one is needed, an unknown class.
            Reject: a picture that does not fit into memory.
        """
        from vpd.drawing.strip import with_legend
        from vpd.drawing.style import Style

        if image is None:
            raise ConfigError("There is no picture yet: upload one, or take one.")
        if place not in self._known:
            raise ConfigError(f"{place}: not one of the models of this page, {', '.join(self._known)}.")
        asks, sentence = self.asks(place), sentence.strip()
        if asks.sentence and not sentence:
            raise ConfigError("Write what to look for, such as: the dog on the left.")
        predictor, asked = self._predictor(place), [sentence] if asks.sentence else []
        (found,) = predictor.many([image], asked, class_name if asks.classes else "")
        if found.error:
            raise found.error
        task, answer = predictor.task, found.answers[0]
        style = Style(predictor.trained.class_names, sentence if asks.sentence else "", colormap)
        legend = task.legend(image, answer, style)
        drawn = with_legend(task.draw(image, answer, style), legend)
        return Answered(drawn, legend.title, self._written(task, answer, image, style, drawn))

    def _predictor(self, place: str) -> Predictor:
        from diffusion_perception.predicting.predictor import Predictor

        if self._loaded is None or self._loaded[0] != place:
            self._loaded = None  # its memory is needed
            checkpoint, device, memory_gb = self._how
            self._loaded = place, Predictor(place, checkpoint, device, memory_gb=memory_gb)
        return self._loaded[1]

    def _written(
        self, task: Task, answer: np.ndarray, image: np.ndarray, style: Style, drawn: np.ndarray
    ) -> tuple[str, ...]:
        from PIL import Image

        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        self._made.append(folder)
        for old in self._made[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        self._made = self._made[-KEPT:]
        Image.fromarray(drawn).save(folder / DRAWN)
        suffixes = dict.fromkeys((task.export_suffix, *task.export_suffixes))
        files = [folder / f"{NAME}{suffix}" for suffix in suffixes if suffix not in UNASKED]
        for file in files:
            task.export(answer, file, image, style)
        return tuple(map(str, (*files, folder / DRAWN)))
