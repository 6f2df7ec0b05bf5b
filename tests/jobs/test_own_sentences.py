"""One's own sentences, from a JSONL file to a scored model, in this process: several targets, none, a broken entry."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image
from toy_jobs import build_here, build_settings, train_here, train_settings

from shards.reading.reader import ShardSet
from shards.verify import find_faults
from vpd.training.checkpoints.checkpoint import CheckpointStore

SIDE = 48


def write_shelf(root: Path) -> Path:
    """Six pictures of a red and a blue square; every picture with one target, both, and none."""
    (root / "images").mkdir(parents=True)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for number in range(6):
        pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
        x = 4 + 2 * number
        pixels[8:24, x : x + 16], pixels[28:44, x : x + 16] = (255, 0, 0), (0, 0, 255)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        red, blue = [x, 8, 16, 16], [x, 28, 16, 16]
        entries = [("the red square", [red]), ("both squares", [red, blue]), ("the green square", [])]
        for text, boxes in entries:
            entry = {"image": f"{number}.png", "text": text, "boxes": boxes}
            lines["val" if number == 5 else "train"].append(json.dumps(entry))
    lines["train"].append(json.dumps({"image": "0.png", "text": "the circle", "boxes": [[1, 2, 3]]}))
    for split, entries in lines.items():
        (root / f"{split}.jsonl").write_text("\n".join(entries))
    return root


def test_own_sentences_build_train_and_are_scored_with_and_without_targets(tmp_path: Path, tiny_sd: Path) -> None:
    source = {"name": "refer_file", "root": str(write_shelf(tmp_path / "shelf")), "box_form": "xywh"}
    settings = {"records_per_shard": 6, "image_batch": 4, "max_rejects": 0.1}
    build_here(build_settings(Path(), tiny_sd, tmp_path, source=source, settings=settings))
    sets = {split: ShardSet.open(tmp_path / f"tiny-{split}") for split in ("train", "val")}
    counts = [(s.manifest.counts["items"], s.manifest.counts["rejects"]) for s in sets.values()]
    assert counts == [(15, 1), (3, 0)]
    assert not [fault for split in sets for fault in find_faults(tmp_path / f"tiny-{split}")]

    task = {"task.no_target_px": 0, "task.best_by": "gIoU"}
    run = train_settings(
        tmp_path, tiny_sd, tmp_path / "runs", over={"loop.steps": 2, "loop.eval_every_steps": 2, **task}
    )
    losses = train_here(run)
    assert all(math.isfinite(loss) for loss in losses.values())
    log = [json.loads(line) for line in (tmp_path / "runs" / "run" / "log.jsonl").read_text().splitlines()]
    (scores,) = (line for line in log if line["kind"] == "val")
    assert (scores["N_acc"], scores["T_acc"]) == (0.0, 1.0), "with no_target_px=0 every answer is a mask"
    assert {"gIoU", "cIoU", "native/gIoU", "oIoU"} <= scores.keys()
    assert CheckpointStore(str(tmp_path / "runs" / "run")).best("gIoU") is not None
