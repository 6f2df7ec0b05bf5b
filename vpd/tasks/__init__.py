"""What a task promises: its labels, head, loss and scores. The only object per benchmark on this side.

A task is one module of this package that exposes `build(**options) -> Task`. Training asks for one drawn sample of an
item at a time (`decode`, `loss`); evaluation for every sample of a record (`samples`, `score`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn

from vpd.backbones import FeatureSpec
from vpd.heads import Prediction
from vpd.metrics import Metric

if TYPE_CHECKING:
    from shards.manifest import Manifest
    from shards.reader import RecordView
    from shards.schema import Schema
    from shards.stream import ItemView
    from vpd.batch import Batch


class Task(Protocol):
    """One benchmark, as the loop sees it."""

    @property
    def name(self) -> str:
        """For logs and checkpoints."""
        ...

    @property
    def uses_text(self) -> bool:
        """Whether a sample needs a sentence of its record, stored or encoded online."""
        ...

    @property
    def uses_classes(self) -> bool:
        """Whether the context comes from the set's table of class embeddings."""
        ...

    @property
    def row_draw(self) -> str:
        """How an epoch picks one of an item's rows, sentences or views: "random" or "cycle" (shards.gather.RowDraw)."""
        ...

    def predict_views(self, size_px: tuple[int, int]) -> Mapping[str, Any]:
        """The view plan, by name and options, that cuts a picture of any size for a prediction by a model that was
        trained on views of (h, w) `size_px`."""
        ...

    @property
    def metric_name(self) -> str:
        """The score that chooses the best checkpoint."""
        ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def export_suffix(self) -> str:
        """Of the files that `export` writes."""
        ...

    def tokens(self, schema: Schema) -> int:
        """Context tokens of a sample, and so map channels of a level, where the context is text."""
        ...

    def build_head(self, spec: FeatureSpec, classes: int | None = None, name: str = "", **options: Any) -> nn.Module:
        """The head `name` of `vpd.heads`, or the task's own; `classes` is the number of rows of the class table."""
        ...

    def decode(self, item: ItemView) -> Mapping[str, np.ndarray]:
        """Labels of one item, decoded on a reader thread; the same shapes for every item of a set."""
        ...

    def context(self, batch: Batch) -> torch.Tensor | None:
        """What a batch attends to: text states `[B, T, D]`, class ids int64 `[B]`, or None for all classes."""
        ...

    def out_size_px(self, batch: Batch) -> tuple[int, int] | None:
        """`(H, W)` of the prediction for a batch; None: as the head makes it."""
        ...

    def loss(self, logits: Prediction, batch: Batch) -> torch.Tensor:
        """Scalar loss of a prediction, with the head's auxiliary outputs if it has them, against `decode`'s labels."""
        ...

    def new_metric(self) -> Metric:
        """Empty sums for one evaluation pass."""
        ...

    def samples(self, record: RecordView, *text_fields: str) -> Mapping[str, np.ndarray]:
        """Every sample of a record, as input arrays `[N, ...]` named like the stream's; `text_fields` names the
        sentences' field (`text` or `tokens`) for a task that uses text."""
        ...

    def score(self, metric: Any, record: RecordView, outputs: torch.Tensor) -> None:
        """Count the predictions `[N, C, H, W]` of a record's samples, in the order of `samples`."""
        ...

    def report(self, metric: Any, names: Sequence[str]) -> str:
        """What a person reads below the scores, such as a table of the classes called `names`; empty for nothing."""
        ...

    def expected_count(self, manifest: Manifest) -> int:
        """Samples that a complete pass over a set counts."""
        ...

    def predictions(self, record: RecordView, outputs: torch.Tensor) -> torch.Tensor:
        """Predictions `[P, ...]` in the picture's own pixels from the outputs of a record's samples, one for each
        sentence or one for the picture: maps `[C, H, W]` of its size, or what the task says."""
        ...

    def draw(self, image: np.ndarray, output: np.ndarray) -> np.ndarray:
        """A picture, uint8 `[H, W, 3]`, that shows one of `predictions`."""
        ...

    def export(self, output: np.ndarray, path: str | Path) -> None:
        """Write one of `predictions` to a file in the format of its benchmark's labels."""
        ...
