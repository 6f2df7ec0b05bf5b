"""Demo, referring segmentation: official RefCOCO files -> shards -> training -> evaluation -> pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from demo.ray_head import RayHead
from demo.refcoco_world import write_refcoco_world
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from vpd.tasks.refer.labels import decode_rle
from vpd.tasks.refer.metric import ReferMetric, Target

SPLITS = {"train": 400, "val": 40, "testA": 12, "testB": 12}


def run(head: RayHead, out: Path, say: Callable[[str], None]) -> list[str]:
    """Run the chapter; returns the lines of its summary."""
    say("refer: rendering a world in the official RefCOCO layout")
    write_refcoco_world(out / "refcoco", images=SPLITS, seed=0)
    say("refer: ray job submit -- jobs/build_shards.py --config configs/demo/build_refer.yaml")
    submit(head, "jobs/build_shards.py", "--config", "configs/demo/build_refer.yaml")
    say("refer: ray job submit -- jobs/train.py --task refer --config configs/demo/train_refer.yaml")
    submit(head, "jobs/train.py", "--task", "refer", "--config", "configs/demo/train_refer.yaml")
    say("refer: ray job submit -- jobs/evaluate.py run=demo_out/runs/refer ...")
    sets = ",".join(f"demo_out/shards/refcoco-{split}" for split in ("val", "testA", "testB"))
    submit(head, "jobs/evaluate.py", "run=demo_out/runs/refer", f"sets=[{sets}]", "cpus_per_worker=2")
    say("refer: drawing predictions")
    pictures(out)
    return summary(out)


def submit(head: RayHead, *words: str) -> None:
    """Submit a job, echo it, and stop the demo if it fails."""
    job = head.submit("--", *words, echo=True)
    if job.returncode != 0:
        sys.exit(f"demo: `ray job submit -- {' '.join(words)}` failed with exit status {job.returncode}")


def baselines(shards: ShardSet) -> dict[str, float]:
    """oIoU of two predictions that know nothing: everything is the object; every pixel is a coin toss."""
    scores = {}
    generator = torch.Generator().manual_seed(0)
    for name in ("all foreground", "random mask"):
        metric = ReferMetric()
        for number in range(shards.n_records):
            record = shards.record(number)
            view = View.from_json(record.meta["views"][0])
            height, width = view.size_px
            for ref, (_, sentences) in zip(record.meta["refs"], record.meta["items"], strict=True):
                score = torch.ones(sentences, height, width)
                if name == "random mask":
                    score = torch.rand(sentences, height, width, generator=generator) - 0.5
                metric.update(torch.stack([-score, score], dim=1), Target.of(ref["rle"], view))  # [S, 2, h, w]
        scores[name] = metric.compute()["oIoU"]
    return scores


def summary(out: Path) -> list[str]:
    """What was learnt, beside what needs no learning."""
    log = [json.loads(line) for line in (out / "runs/refer/log.jsonl").read_text().splitlines()]
    before = next(entry for entry in log if entry["kind"] == "val" and entry["step"] == 0)
    (results,) = (out / "runs/refer").glob("evaluation-step-*.json")
    after = json.loads(results.read_text())["sets"]
    known = baselines(ShardSet.open(out / "shards/refcoco-val"))
    return [
        "Referring segmentation, oIoU on the val split:",
        *(f"  {name:<28}{value:.3f}" for name, value in known.items()),
        f"  {'before training':<28}{before['oIoU']:.3f}",
        f"  {'after training':<28}{after['refcoco-val']['oIoU']:.3f}",
        f"  {'after, testA / testB':<28}{after['refcoco-testA']['oIoU']:.3f} / {after['refcoco-testB']['oIoU']:.3f}",
    ]


def pictures(out: Path, n: int = 12) -> None:
    """A grid of val images: sentence, truth outlined in green, prediction in a colour that shows on it."""
    from PIL import Image

    from demo.grid import captioned_grid
    from diffusion_perception.predictor import Predictor

    predictor = Predictor(str(out / "runs/refer"))
    shards = ShardSet.open(out / "shards/refcoco-val")
    cells = []
    for number in range(min(n, shards.n_records)):
        meta = shards.record(number).meta
        ref, (first, _) = meta["refs"][0], meta["items"][0]
        sentence = meta["sentences"][first]
        path = out / "refcoco/images/mscoco/images/train2014" / meta["file_name"]
        image = np.array(Image.open(path).convert("RGB"))
        predicted = predictor.task.draw(image, predictor(image, [sentence])[0])
        cells.append((outlined(predicted, decode_rle(ref["rle"])), sentence))
    captioned_grid(cells).save(out / "refer_predictions.png")


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the border of a mask [H, W] in green."""
    inside = mask.astype(bool)
    core = inside.copy()
    core[1:-1, 1:-1] = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    drawn = image.copy()
    drawn[inside & ~core] = (0, 255, 0)
    return drawn
