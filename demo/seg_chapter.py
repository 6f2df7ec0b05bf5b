"""Demo, semantic segmentation: official ADE20K files -> shards -> training -> scores and pictures.

Both methods train on the same sets: VPD with its class prompts, Meta Prompts with learned ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.ade20k_world import CLASSES, write_ade20k_world
from demo.grid import captioned_grid
from demo.outcome import Outcome
from demo.refer_chapter import trainings, validations
from demo.stages import Stages
from demo.starts import Start
from shards.reading.reader import ShardSet, StoredRecord
from vpd.inference.evaluate import evaluate
from vpd.tasks.seg.draw import palette
from vpd.tasks.seg.labels import stored_label
from vpd.tasks.seg.metric import Confusion
from vpd.tasks.seg.task import SegTask

IMAGES = {"training": 280, "validation": 16}
IGNORE = 255


def run(stages: Stages, out: Path) -> Outcome:
    """Run the chapter."""
    build(stages, out)
    stages.train("seg")
    prompted = "jobs/train.py --task seg --config configs/demo/train_seg_meta_prompts.yaml"
    stages.submit("seg: training by the other method, Meta Prompts", train_seg_meta_prompts=prompted)
    return outcome(out, stages.starts, pictures(out))


def build(stages: Stages, out: Path) -> None:
    """The sets, unless another chapter has made them."""
    if (out / "shards/ade20k-validation/manifest.json").exists():
        return
    write_ade20k_world(out / "ADEChallengeData2016", images=IMAGES, seed=0)
    stages.say("seg: a world in the official ADE20K layout")
    stages.submit("seg: shards", build_seg="jobs/build_shards.py --config configs/demo/build_seg.yaml")


def most_frequent_class(train: ShardSet, val: ShardSet) -> tuple[str, dict[str, float]]:
    """The commonest class of one set's labels, and the scores of predicting it for every pixel of the other."""
    pixels = sum(np.bincount(label.ravel(), minlength=256) for _, label in _labels(train))
    best = int(np.argmax(np.asarray(pixels)[: len(CLASSES)]))
    metric = Confusion(len(CLASSES), IGNORE)
    for _, label in _labels(val):
        metric.update(torch.full(label.shape, best), torch.from_numpy(label))
    return CLASSES[best], metric.compute()


def pictures(out: Path, n: int = 12) -> Confusion:
    """A grid of validation pictures: truth and prediction side by side; returns the scores of the whole split."""
    from diffusion_perception.trained import load_trained

    trained = load_trained(str(out / "runs/seg"), "best", torch.device("cpu"))
    task = trained.task
    assert isinstance(task, SegTask)
    cells: list[tuple[np.ndarray, str]] = []

    def draw(record: StoredRecord, outputs: torch.Tensor) -> None:
        if len(cells) == n:
            return
        path = out / "ADEChallengeData2016/images/validation" / record.meta["file_name"]
        image = np.array(Image.open(path).convert("RGB"))
        predicted = task.draw(image, task.picture(record, outputs)[0].numpy())
        label = stored_label(record, len(CLASSES), IGNORE)
        colours = np.vstack([palette(len(CLASSES)), np.zeros((256 - len(CLASSES), 3), np.uint8)])
        truth = image // 2 + colours[label] // 2
        cells.append((np.concatenate([truth, predicted], axis=1), f"{record.key}: truth, prediction"))

    shards = ShardSet.open(str(out / "shards/ade20k-validation"))
    metric = evaluate(trained.model, task, shards, batch_size=32, on_record=draw)
    captioned_grid(cells, columns=3, cell_px=(144, 384)).save(out / "seg_predictions.png")
    assert isinstance(metric, Confusion)
    return metric


def outcome(out: Path, starts: Sequence[Start], scores: Confusion) -> Outcome:
    """What was learnt, beside what needs no learning."""
    train, val = (ShardSet.open(str(out / f"shards/ade20k-{split}")) for split in ("training", "validation"))
    name, known = most_frequent_class(train, val)
    rows = {f"everything is {name}": known, **trainings(out / "runs/seg", starts)}
    prompts = validations(out / "runs/seg-meta-prompts")[-1]
    rows[f"  Meta Prompts, {prompts['step']} steps"] = prompts
    return Outcome(
        "Semantic segmentation: what is each pixel?",
        ("mIoU", "aAcc"),
        {what: (row["mIoU"], row["aAcc"]) for what, row in rows.items()},
        f"from {starts[0].weights}",
        "seg_predictions.png",
        "Validation pictures: truth on the left, prediction on the right.",
        "IoU of each class: " + ", ".join(f"{row.name} {row.iou:.2f}" for row in scores.per_class(CLASSES)),
    )


def _labels(shards: ShardSet) -> list[tuple[str, np.ndarray]]:
    records = [shards.record(number) for number in range(shards.n_records)]
    return [(record.key, stored_label(record, len(CLASSES), IGNORE)) for record in records]
