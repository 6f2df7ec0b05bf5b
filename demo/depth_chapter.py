"""Demo, depth: a real v7.3 .mat with splits.mat -> shards -> training with published evaluation -> pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.grid import captioned_grid
from demo.nyuv2_world import write_nyuv2_world
from demo.ray_head import RayHead
from demo.refer_chapter import submit
from diffusion_perception.picture_record import views_of
from shards.contract.lengths import per_metre
from shards.geometry.view import View
from shards.reading.reader import ShardSet, StoredRecord
from vpd.tasks.depth.labels import metres, stored_depth
from vpd.tasks.depth.task import DepthTask

IMAGES = {"train": 160, "test": 16}


def run(head: RayHead, out: Path, say: Callable[[str], None]) -> list[str]:
    """Run the chapter; returns the lines of its summary."""
    say("depth: rendering rooms into a MATLAB v7.3 file in NYUv2's layout")
    write_nyuv2_world(out / "nyuv2", images=IMAGES, seed=0)
    say("depth: ray job submit -- jobs/build_shards.py --config configs/demo/build_depth.yaml")
    submit(head, "jobs/build_shards.py", "--config", "configs/demo/build_depth.yaml")
    say("depth: ray job submit -- jobs/train.py --task depth --config configs/demo/train_depth.yaml")
    submit(head, "jobs/train.py", "--task", "depth", "--config", "configs/demo/train_depth.yaml")
    say("depth: drawing predictions")
    ratio = pictures(out)
    seam = "step across a window's edge, over the steps beside it"
    return [*summary(out), f"  {seam}: at most {ratio:.2f} (above 1 is a seam)"]


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


def summary(out: Path) -> list[str]:
    """What was learnt, beside what needs no learning."""
    from diffusion_perception.settings import read_file
    from vpd.tasks.depth.task import build

    options = read_file("configs/demo/train_depth.yaml")["task"]
    task = build(**{key: value for key, value in options.items() if key != "name"})
    train, test = (ShardSet.open(out / f"shards/nyuv2-{split}") for split in ("train", "test"))
    mean_m, known = mean_depth_rmse(train, test, task)
    before, *_, after = validations(out / "runs/depth")
    return [
        "Depth, RMSE in metres on the test split (two windows and their flips, NYU crop):",
        f"  {f'mean depth, {mean_m:.2f} m everywhere':<32}{known:.3f}",
        f"  {'before training':<32}{before['rmse']:.3f}",
        f"  {'after training':<32}{after['rmse']:.3f}    d1 {after['d1']:.3f}, abs_rel {after['abs_rel']:.3f}",
    ]


def validations(run: Path) -> list[dict[str, Any]]:
    """A run's scores on its validation set, in the order of the steps."""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [entry for entry in log if entry["kind"] == "val"]


def pictures(out: Path, n: int = 12) -> float:
    """A grid of test pictures: truth and prediction side by side, near light and far dark, as `predict` draws them.

    Returns the largest `seam_ratio` of the predictions.
    """
    from diffusion_perception.predictor import Predictor
    from pipeline.sources import nyuv2

    predictor = Predictor(str(out / "runs/depth"), device="cpu")
    source, shards = nyuv2.build(out / "nyuv2", form="mat"), ShardSet.open(out / "shards/nyuv2-test")
    cells: list[tuple[np.ndarray, str]] = []
    ratios = []
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
        ratios.append(seam_ratio(predicted[0], windows))
    captioned_grid(cells, columns=3, cell_px=(144, 384)).save(out / "depth_predictions.png")
    return max(ratios)


def seam_ratio(depth_m: np.ndarray, windows: Sequence[View]) -> float:
    """How much a prediction [H, W] jumps across the windows' edges: the mean step from column to column there, over the
    larger of the steps beside it; the largest of all edges inside the picture. Above 1 is a seam."""
    height, width = depth_m.shape
    assert all(view.resized_px == (height, width) for view in windows), "the demo's windows show its pictures unscaled"
    steps = np.abs(np.diff(depth_m, axis=1)).mean(axis=0)  # [W - 1], step k is from column k to k + 1
    edges = {edge for view in windows for edge in (view.window_px[0], view.window_px[2]) if 2 <= edge <= width - 2}
    return max(float(steps[edge - 1] / max(steps[edge - 2], steps[edge])) for edge in edges)
