"""Demo, depth: a real v7.3 .mat with splits.mat -> shards -> training with published evaluation -> pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from demo.grid import captioned_grid
from demo.nyuv2_world import write_nyuv2_world
from demo.outcome import Outcome
from demo.refer_chapter import trainings
from demo.stages import Stages
from demo.starts import Start
from diffusion_perception.predicting.picture_record import views_of
from shards.contract.lengths import per_metre
from shards.geometry.view import View
from shards.reading.reader import ShardSet, StoredRecord
from vpd.tasks.depth.labels import metres, stored_depth
from vpd.tasks.depth.task import DepthTask

IMAGES = {"train": 160, "test": 16}


def run(stages: Stages, out: Path) -> Outcome:
    """Run the chapter."""
    write_nyuv2_world(out / "nyuv2", images=IMAGES, seed=0)
    stages.say("depth: rooms in a MATLAB v7.3 file in NYUv2's layout")
    stages.submit("depth: shards", build_depth="jobs/build_shards.py --config configs/demo/build_depth.yaml")
    stages.train("depth")
    return outcome(out, stages.starts, pictures(out))


def depth_of(record: StoredRecord) -> np.ndarray:
    """The measured depth of a record in metres, float32 [H, W], 0 where there is none."""
    field = record.shards.schema.field("depth")
    return metres(stored_depth(record, field), per_metre(field))


def mean_depth_rmse(train: ShardSet, test: ShardSet, task: DepthTask) -> tuple[float, float]:
    """The training set's mean depth in metres, and the RMSE of predicting it everywhere."""
    pixels = np.concatenate([depth_of(train.record(n)).ravel() for n in range(train.n_records)])
    mean_m = float(pixels[pixels > 0].mean())
    metric = task.new_metric()
    for number in range(test.n_records):
        target = torch.from_numpy(depth_of(test.record(number)))
        metric.update(torch.full_like(target, mean_m), target)
    return mean_m, metric.compute()["rmse"]


def outcome(out: Path, starts: Sequence[Start], seam: float) -> Outcome:
    """What was learnt, beside what needs no learning."""
    from diffusion_perception.settings import read_file
    from vpd.tasks.depth.task import build

    options = read_file("configs/demo/train_depth.yaml")["task"]
    task = build(**{key: value for key, value in options.items() if key != "name"})
    train, test = (ShardSet.open(out / f"shards/nyuv2-{split}") for split in ("train", "test"))
    mean_m, known = mean_depth_rmse(train, test, task)
    rows: dict[str, tuple[float | None, ...]] = {f"{mean_m:.2f} m everywhere": (known, None, None)}
    scores = trainings(out / "runs/depth", starts)
    rows |= {what: (row["rmse"], row["d1"], row["abs_rel"]) for what, row in scores.items()}
    return Outcome(
        "Depth: how far away is each pixel?",
        ("RMSE, m", "d1", "abs_rel"),
        rows,
        f"from {starts[0].weights}",
        "depth_predictions.png",
        "Test pictures: truth on the left, prediction on the right; near is light, far is dark.",
        f"Step across a window's edge, over the steps beside it: {seam:.2f} (above 1 is a seam).",
    )


def pictures(out: Path, n: int = 12) -> float:
    """A grid of test pictures: truth and prediction side by side, near light and far dark, as `predict` draws them.

    Returns the `seam_ratio` of the predictions.
    """
    from diffusion_perception.predicting.predictor import Predictor
    from pipeline.sources import nyuv2

    predictor = Predictor(str(out / "runs/depth"), device="cpu")
    source, shards = nyuv2.build(out / "nyuv2", form="mat"), ShardSet.open(out / "shards/nyuv2-test")
    cells: list[tuple[np.ndarray, str]] = []
    drawn: list[np.ndarray] = []
    windows: list[View] = []
    for number in range(min(n, shards.n_records)):
        record = shards.record(number)
        image = source.load("test", record.key).image
        name = predictor.trained.class_names[record.meta["class_id"]]
        predicted = predictor(image, class_name=name)[0]  # [1, H, W]
        truth = depth_of(record)
        truth = np.where(truth > 0, truth, np.nan)[None]
        pair = [predictor.task.draw(image, depth) for depth in (truth, predicted)]
        cells.append((np.concatenate(pair, axis=1), f"{record.meta['scene']}: truth, prediction"))
        windows = [view for run in views_of(predictor.plan, image, ()) for view in run]
        drawn.append(predicted[0])
    captioned_grid(cells, columns=3, cell_px=(144, 384)).save(out / "depth_predictions.png")
    return seam_ratio(np.stack(drawn), windows)


def seam_ratio(depth_m: np.ndarray, windows: Sequence[View]) -> float:
    """How much predictions [N, H, W] jump across the windows' edges: the mean step from column to column there, over
    the larger of the steps beside it; the largest of all edges inside the picture. Above 1 is a seam.

    The mean is over pictures, too, whose windows lie alike: where an object ends says nothing about windows.
    """
    _, height, width = depth_m.shape
    assert all(view.resized_px == (height, width) for view in windows), "the demo's windows show its pictures unscaled"
    steps = np.abs(np.diff(depth_m, axis=2)).mean(axis=(0, 1))  # [W - 1], step k is from column k to k + 1
    edges = {edge for view in windows for edge in (view.window_px[0], view.window_px[2]) if 2 <= edge <= width - 2}
    return max(float(steps[edge - 1] / max(steps[edge - 2], steps[edge])) for edge in edges)
