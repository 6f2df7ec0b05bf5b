"""Demo, referring segmentation: official RefCOCO files -> shards -> training -> evaluation -> pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo.outcome import Outcome
from demo.refcoco_world import write_refcoco_world
from demo.stages import Stages
from demo.starts import Start
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from vpd.tasks.refer.labels import decode_rle
from vpd.tasks.refer.metric import ReferMetric, Target

SPLITS = {"train": 400, "val": 40, "testA": 12, "testB": 12}


def run(stages: Stages, out: Path) -> Outcome:
    """Run the chapter."""
    write_refcoco_world(out / "refcoco", images=SPLITS, seed=0)
    stages.say("refer: a world in the official RefCOCO layout")
    stages.submit("refer: shards", build_refer="jobs/build_shards.py --config configs/demo/build_refer.yaml")
    stages.train("refer")
    sets = ",".join(f"demo_out/shards/refcoco-{split}" for split in ("val", "testA", "testB"))
    stages.submit(
        "refer: evaluation on three splits",
        evaluate_refer=f"jobs/evaluate.py run=demo_out/runs/refer sets=[{sets}] cpus_per_worker=2",
    )
    pictures(out)
    return outcome(out, stages.starts)


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


def outcome(out: Path, starts: Sequence[Start]) -> Outcome:
    """What was learnt, beside what needs no learning."""
    (results,) = (out / "runs/refer").glob("evaluation-step-*.json")
    after = json.loads(results.read_text())["sets"]
    known = baselines(ShardSet.open(out / "shards/refcoco-val"))
    rows: dict[str, tuple[float | None, ...]] = {name: (score, None) for name, score in known.items()}
    scores = trainings(out / "runs/refer", starts)
    scores |= {f"  {starts[0].weights}, on {split}": after[f"refcoco-{split}"] for split in ("testA", "testB")}
    rows |= {what: (row["oIoU"], row["mIoU"]) for what, row in scores.items()}
    return Outcome(
        "Referring segmentation: which object does a sentence mean?",
        ("oIoU", "mIoU"),
        rows,
        f"from {starts[0].weights}",
        "refer_predictions.png",
        "Validation pictures: outlined in green what the sentence means, tinted what was predicted.",
    )


def trainings(run: Path, starts: Sequence[Start]) -> dict[str, dict[str, Any]]:
    """Validations half way and at the end of a training from every start, after that of the first start itself."""
    scores = {f"{starts[0].weights}, not trained": validations(run)[0]}
    for start in starts:
        *before, last = validations(run.with_name(run.name + start.suffix))
        halves = [entry for entry in before if 2 * entry["step"] == last["step"]]
        scores |= {f"  {entry['step']} of {last['step']} steps from {start.weights}": entry for entry in halves}
        scores[f"from {start.weights}"] = last
    return scores


def validations(run: Path) -> list[dict[str, Any]]:
    """A run's scores on its validation set, in the order of the steps."""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [entry for entry in log if entry["kind"] == "val"]


def pictures(out: Path, n: int = 12) -> None:
    """A grid of val images: sentence, truth outlined in green, prediction in a colour that shows on it."""
    from PIL import Image

    from demo.grid import captioned_grid
    from diffusion_perception.predicting.predictor import Predictor

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
