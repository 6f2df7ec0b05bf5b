"""Demo, semantic segmentation: official ADE20K files -> shards -> training -> scores and pictures.

Both methods train on the same sets: VPD with its class prompts, Meta Prompts with learned ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.ade20k_world import CLASSES, write_ade20k_world
from demo.depth_chapter import validations
from demo.grid import captioned_grid
from demo.ray_head import RayHead
from demo.refer_chapter import submit
from shards.reading.reader import ShardSet, StoredRecord
from vpd.inference.evaluate import evaluate
from vpd.tasks.seg.draw import palette
from vpd.tasks.seg.labels import stored_label
from vpd.tasks.seg.metric import Confusion, class_table
from vpd.tasks.seg.task import SegTask

IMAGES = {"training": 280, "validation": 16}
IGNORE = 255


def run(head: RayHead, out: Path, say: Callable[[str], None]) -> list[str]:
    """Run the chapter; returns the lines of its summary."""
    say("seg: rendering a world in the official ADE20K layout")
    write_ade20k_world(out / "ADEChallengeData2016", images=IMAGES, seed=0)
    say("seg: ray job submit -- jobs/build_shards.py --config configs/demo/build_seg.yaml")
    submit(head, "jobs/build_shards.py", "--config", "configs/demo/build_seg.yaml")
    say("seg: ray job submit -- jobs/train.py --task seg --config configs/demo/train_seg.yaml")
    submit(head, "jobs/train.py", "--task", "seg", "--config", "configs/demo/train_seg.yaml")
    prompted = "configs/demo/train_seg_meta_prompts.yaml"
    say(f"seg: ray job submit -- jobs/train.py --task seg --config {prompted}   (the same shards)")
    submit(head, "jobs/train.py", "--task", "seg", "--config", prompted)
    say("seg: drawing predictions")
    scores = pictures(out)
    return summary(out, scores)


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


def summary(out: Path, scores: Confusion) -> list[str]:
    """What was learnt, beside what needs no learning."""
    before = validations(out / "runs/seg")[0]
    meta_prompts = validations(out / "runs/seg-meta-prompts")[-1]
    train, val = (ShardSet.open(str(out / f"shards/ade20k-{split}")) for split in ("training", "validation"))
    name, known = most_frequent_class(train, val)
    rows = {
        f"everything is {name}": known,
        "before training": before,
        "after training": scores.compute(),
        f"Meta Prompts, {meta_prompts['step']} steps": meta_prompts,
    }
    return [
        "Semantic segmentation, mIoU / pixel accuracy on the validation split:",
        *(f"  {what:<28}{row['mIoU']:.3f} / {row['aAcc']:.3f}" for what, row in rows.items()),
        *(f"  {line}" for line in class_table(scores.per_class(CLASSES)).splitlines()),
    ]


def _labels(shards: ShardSet) -> list[tuple[str, np.ndarray]]:
    records = [shards.record(number) for number in range(shards.n_records)]
    return [(record.key, stored_label(record, len(CLASSES), IGNORE)) for record in records]
