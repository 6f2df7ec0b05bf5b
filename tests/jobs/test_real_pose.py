"""The real COCO sample through the jobs: build, two steps of Meta Prompts for pose, evaluation, prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from short_runs import build, evaluated, train

from diffusion_perception.predicting.predictor import Predictor
from shards.errors import ConfigError
from shards.reading.reader import ShardSet

SIZE = [128, 64]


def test_coco_persons_build_train_and_evaluate_alike_on_one_and_two_workers(
    realdata: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    sets = build(
        tmp_path, tiny_sd, name="coco", splits=["train2017", "val2017"], text=None,
        source={"name": "coco_keypoints", "root": str(realdata / "coco_pose")},
        views={"name": "persons", "mode": "k", "k": 3, "size": SIZE},
        views_of={"val2017": {"name": "persons", "mode": "exact", "size": SIZE, "flip": True}},
    )  # fmt: skip
    counts = {split: ShardSet.open(sets / f"coco-{split}").manifest.counts for split in ("train2017", "val2017")}
    assert counts == {
        "train2017": {"records": 7, "items": 18, "rejects": 0, "view": 54},
        "val2017": {"records": 7, "items": 23, "rejects": 0, "view": 46},
    }
    run = train(
        tmp_path, tiny_sd, workers=2, task={"name": "pose"},  # two workers, which evaluate together
        data={"train": str(sets / "coco-train2017"), "val": str(sets / "coco-val2017"), "batch_size": 4},
        backbone={"attention_maps": "", "timestep": None, "output_head": True, "resize_skips": True},
        model={"prompts": {"count": 17, "passes": 2}, "head": {"name": "heat_maps", "width": 32}},
    )  # fmt: skip
    one, two = (evaluated(run, sets / "coco-val2017", workers) for workers in (0, 2))
    assert one["samples"] == 7
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
    assert 0 <= one["AP"] < 0.5  # two steps find nobody

    photo = np.array(Image.open(realdata / "coco_pose" / "val2017" / "000000397133.jpg"))
    predictor = Predictor(str(run), device="cpu")
    whole, two_boxes = predictor(photo), predictor(photo, boxes=[[388, 69, 109, 277], [0, 262, 62, 36]])
    assert (whole.shape, two_boxes.shape) == ((1, 1, 17, 3), (1, 2, 17, 3))
    assert (two_boxes[0, 0, :, 0] > 330).all()  # in the crop of the box that was given
    with pytest.raises(ConfigError, match="inside the image of 640 x 427"):
        predictor(photo, boxes=[[700, 0, 10, 10]])
    predictor.task.export(two_boxes[0], tmp_path / "397133.json")
    assert [entry["image_id"] for entry in json.loads((tmp_path / "397133.json").read_text())] == [397133, 397133]
