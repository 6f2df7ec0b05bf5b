"""What a task promises, in four small parts: its inputs and labels, its loss, its scores, its pictures.

A task is one module or folder of this package that exposes `build(**options) -> Task`, a class derived from `Task` or
from the parts it has. `Learned` is enough to train, `Scored` to evaluate, `Pictured` to predict; what a task does not
say it inherits. Training asks for one drawn sample of each item of a batch (`batch_labels`, which are `labels` unless a
task says better, and `loss`), evaluation for every sample of a record (`samples`, `score`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from shards.reading.labelling import one_by_one
from vpd.drawing.style import PLAIN, Legend, Style
from vpd.heads import Prediction
from vpd.tasks.metric import Metric

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.contract.schema import Schema
    from shards.reading.batch import Sample
    from shards.reading.labelling import Room
    from shards.reading.reader import StoredRecord
    from vpd.model.device_batch import DeviceBatch


class Conditioned(Protocol):
    """What a task attends to, and which head answers."""

    name: str  # for logs and checkpoints
    head: str  # the head it takes unless a configuration names another: a module of `vpd.heads`
    uses_text: bool = False  # a sample needs a sentence of its record, stored or encoded online
    uses_classes: bool = False  # the context comes from a table of class embeddings
    names_classes: bool = True  # its rows are the classes of the set, and not one text for every sample

    def head_options(self, rows: int | None) -> dict[str, Any]:
        """What the task decides about its head, such as the number of classes; `rows` is that of the class table.

        Raises:
            ConfigError: the class table does not fit the task.
        """
        return {}

    def head_defaults(self) -> dict[str, Any]:
        """What the task would choose for its head where a configuration says nothing."""
        return {}

    def tokens(self, schema: Schema) -> int:
        """Context tokens of a sample, and so map channels of a level, where the context is text."""
        return 1

    def context(self, batch: DeviceBatch) -> torch.Tensor | None:
        """What a batch attends to: text states `[B, T, D]`, class ids int64 `[B]`, or None for all classes."""
        return None

    def out_size_px(self, batch: DeviceBatch) -> tuple[int, int] | None:
        """`(H, W)` of the prediction for a batch; None: as the head makes it."""
        return None


class Learned(Conditioned, Protocol):
    """What training needs: labels of a sample, and the loss of a batch."""

    label_fields: tuple[str, ...] = ()  # stored fields that labels are made of, besides latents, text and meta
    metric_name: str = ""  # the score that chooses the best checkpoint; empty for a task without scores
    higher_is_better: bool = True
    row_draw: str = "cycle"  # how an epoch picks one of an item's rows: "random" or "cycle" (`RowDraw` of `shards`)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "labels" in vars(cls) and "batch_labels" not in vars(cls):  # a base's would not be made by these `labels`
            cls.batch_labels = Learned.batch_labels

    def labels(self, sample: Sample) -> Mapping[str, np.ndarray]:
        """Labels of one sample, made on a reader thread; the same shapes for every sample of a set."""
        ...

    def batch_labels(self, samples: Sequence[Sample], room: Room) -> Mapping[str, np.ndarray]:
        """Labels of all samples of a batch `[b, ...]`, in arrays of `room`: what training reads. By default `labels` of
        one after another; a task overrides it where a batch at once is less work."""
        return one_by_one(self.labels)(samples, room)

    def notices(self, manifest: Manifest) -> Sequence[str]:
        """What a person should hear before training on a set: what it was built with beside what the task is set to."""
        return ()

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """Scalar loss of a prediction, with the head's auxiliary outputs if it has them, against the batch's labels."""
        ...

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor | None:
        """What a batch counts among several whose losses are averaged into that of all their samples, a scalar on the
        device; None where a loss over all samples is not such a mean."""
        return None


@runtime_checkable
class Scored(Conditioned, Protocol):
    """What evaluation needs: every sample of a record, and how the outputs are counted."""

    metric_name: str  # the score that chooses the best checkpoint
    higher_is_better: bool = True

    def new_metric(self) -> Metric:
        """Empty sums for one evaluation pass."""
        ...

    def samples(self, record: StoredRecord, *text_fields: str) -> Mapping[str, np.ndarray]:
        """Every sample of a record, as input arrays `[N, ...]` named like the stream's; `text_fields` names the
        sentences' field (`text` or `tokens`) for a task that uses text."""
        return {"latent": record.array("latent")}  # [V, C, h, w]: one sample a view

    def targets(self, record: StoredRecord) -> Any:
        """What a record's predictions are compared with, decoded on a reader thread while the model is at work and
        handed to `score`; None, and `score` is not handed any."""
        return None

    def score(self, metric: Any, record: StoredRecord, outputs: torch.Tensor, targets: Any = None) -> None:
        """Count the predictions `[N, C, H, W]` of a record's samples, in the order of `samples`. A task that gives
        `targets` takes them, and without them reads the record."""
        ...

    def report(self, metric: Any, names: Sequence[str]) -> str:
        """What a person reads below the scores, such as a table of the classes called `names`; empty for nothing."""
        return ""

    def expected_count(self, manifest: Manifest) -> int:
        """Samples that a complete pass over a set counts: its pictures."""
        return manifest.counts["records"]


@runtime_checkable
class Pictured(Conditioned, Protocol):
    """What prediction needs: how a picture is cut, put together again, drawn and written."""

    export_suffix: str = ".png"  # of the files that `export` writes in the format of the benchmark's labels
    export_suffixes: tuple[str, ...] = ()  # of the other formats that it writes

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """The view plan, by name and options, that cuts a picture of any size for a prediction by a model that was
        trained on views of (h, w) `size_px`."""
        ...

    def predictions(self, record: StoredRecord, outputs: torch.Tensor) -> torch.Tensor:
        """Predictions `[P, ...]` in the picture's own pixels from the outputs of a record's samples, one for each
        sentence or one for the picture: maps `[C, H, W]` of its size, or what the task says."""
        ...

    def answers(self, record: StoredRecord, outputs: torch.Tensor) -> Iterator[np.ndarray]:
        """The same as what a person asks for, one after the other, in as little memory as it takes: classes or a mask
        `[H, W]` in place of the numbers of all classes. `draw` and `export` take them, and `predictions`."""
        yield from self.predictions(record, outputs).cpu().numpy()

    def working_bytes(
        self, size_px: tuple[int, int], view_px: tuple[int, int], views: int, sentences: int, *, whole: bool
    ) -> int:
        """About how much memory putting a picture of (h, w) `size_px` together takes: its `answers`, or as a `whole`
        its `predictions`."""
        return 16 * (size_px[0] * size_px[1] * sentences + view_px[0] * view_px[1] * views)

    def draw(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> np.ndarray:
        """A picture, uint8 `[H, W, 3]`, that shows one of `answers` or `predictions`."""
        ...

    def legend(self, image: np.ndarray, answer: np.ndarray, style: Style = PLAIN) -> Legend:
        """What was found, in words, and what the colours of `draw` mean."""
        return Legend()

    def steady(self, image: np.ndarray, answer: np.ndarray, style: Style) -> Style:
        """For videos: the style with what `draw` would otherwise choose for this picture, such as the range of its
        colours, chosen for all frames. Asked for every frame, with what it gave for the one before."""
        return style

    def export(
        self, answer: np.ndarray, path: str | Path, image: np.ndarray | None = None, style: Style = PLAIN
    ) -> None:
        """Write one of `answers` or `predictions` to a file: in the format of its benchmark's labels where the path
        ends in `export_suffix`, or in the one of `export_suffixes`."""
        ...


class Task(Learned, Scored, Pictured, Protocol):
    """All of it: what every task of this project is."""
