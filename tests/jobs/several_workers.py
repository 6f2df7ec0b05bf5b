"""Training on two workers and evaluation on several, without Ray: what the workers of a cluster do, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch.nn.parallel import DistributedDataParallel

from diffusion_perception import evaluation, training
from diffusion_perception.forecast.training import forecast_training
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from tests import forked
from vpd.training.worker import Worker


def train(settings: dict[str, Any], meeting: Path) -> None:
    """What the command makes sure of, then training in two processes of one group, each with its share of a batch."""
    forecast_training(bind(TrainJob, settings))
    forked.together(_train, settings, meeting=meeting)


def _train(rank: int, settings: dict[str, Any]) -> None:
    parallel = partial(DistributedDataParallel, gradient_as_bucket_view=True)  # as `jobs.train` asks Ray for it
    training.train(bind(TrainJob, settings), Worker(rank, 2), wrap=parallel)


def evaluate(run: Path, sets: Sequence[Path], out: Path, workers: int) -> None:
    """Evaluate in parts, each by an evaluator of its own; they are joined as those of other processes are."""
    job = evaluation.EvaluateJob(str(run), tuple(map(str, sets)), workers=workers, out=str(out))

    def place() -> evaluation.Parts:
        evaluators = [evaluation.Evaluator(job) for _ in range(workers)]
        return lambda url, opened, tag: [one.part(url, rank) for rank, one in enumerate(evaluators)]

    evaluation.evaluate(job, place)
