"""The Ray Data actor that predicts: loads the model once, and writes the outputs of the pictures it is given.

Everything it does is `diffusion_perception.predicting.many`'s; placement and the record are `jobs.spread_prediction`'s.
Rows carry JSON: a task's pictures in, what became of them out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_perception import settings
from diffusion_perception.predicting.command import predictor_of
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.many import Done, Named, done_of
from diffusion_perception.predicting.picture_files import PictureFile
from shards import errors
from shards.errors import ContractError

TASK, DONE, FAILED = "task", "done", "failed"  # columns


class PictureActor:
    """Lives as long as the job. Nothing is loaded in the constructor: Ray Data starts an actor again whose constructor
    fails, and again."""

    def __init__(self, plain: dict[str, Any], run: str, folder: str) -> None:
        self._job, self._run, self._folder = settings.bind(PredictJob, plain), run, Path(folder)
        self._predictor: Any = None

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Do one task. What the project refuses is told in a row, since Ray Data wraps errors beyond recognition."""
        (task,) = rows[TASK]
        try:
            self._predictor = self._predictor or predictor_of(self._job, self._run)
            done = list(done_of(self._job, self._predictor, self._folder, decoded(task)))
        except ContractError as error:
            return {DONE: np.array(["[]"]), FAILED: np.array([json.dumps([type(error).__name__, str(error)])])}
        return {DONE: np.array([json.dumps([dataclasses.asdict(one) for one in done])]), FAILED: np.array([""])}


def encoded(pictures: list[Named]) -> str:
    """A task as a row holds it."""
    return json.dumps([[one.picture.place, one.picture.name, one.name] for one in pictures])


def decoded(task: str) -> list[Named]:
    """The pictures of a task."""
    return [Named(PictureFile(place, shown), name) for place, shown, name in json.loads(task)]


def told(rows: Iterable[Mapping[str, Any]]) -> Iterator[Done]:
    """What became of the pictures, from the rows that actors give; raises what an actor was refused."""
    for row in rows:
        if row[FAILED]:
            kind, message = json.loads(row[FAILED])
            raise getattr(errors, kind, ContractError)(message)
        for one in json.loads(row[DONE]):
            lists = {name: tuple(one[name]) for name in ("outputs", "said")}
            yield Done(**one | lists | {"picture": PictureFile(**one["picture"])})
