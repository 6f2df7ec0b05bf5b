"""Demo, depth: a real v7.3 .mat with splits.mat -> shards -> training with published evaluation -> pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.grid import captioned_grid
from demo.nyuv2_world import write_nyuv2_world
from demo.ray_head import RayHead
from demo.refer_chapter import submit
from shards.contract.lengths import per_metre
from shards.reading.reader import ShardSet, StoredRecord
from vpd.inference.evaluate import evaluate
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
    pictures(out)
    return summary(out)


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


def pictures(out: Path, n: int = 12) -> None:
    """A grid of test pictures: truth and prediction side by side, near light and far dark."""
    from diffusion_perception.trained import load_trained

    trained = load_trained(str(out / "runs/depth"), "best", torch.device("cpu"))
    shards = ShardSet.open(out / "shards/nyuv2-test")
    cells: list[tuple[np.ndarray, str]] = []

    def draw(record: StoredRecord, outputs: torch.Tensor) -> None:
        predicted = trained.task.predictions(record, outputs)[0].numpy()
        truth = depth_of(record)
        truth = np.where(truth > 0, truth, np.nan)[None]
        pair = [trained.task.draw(np.zeros((*truth.shape[1:], 3), np.uint8), depth) for depth in (truth, predicted)]
        cells.append((np.concatenate(pair, axis=1), f"{record.meta['scene']}: truth, prediction"))

    evaluate(trained.model, trained.task, shards, batch_size=32, on_record=draw, limit=n)
    captioned_grid(cells, columns=3, cell_px=(144, 384)).save(out / "depth_predictions.png")
