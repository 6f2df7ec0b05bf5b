"""The real Cityscapes sample through the jobs: a reject, two steps of Meta Prompts, scores, a prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from short_runs import build, evaluated, train

from diffusion_perception.predicting.predictor import Predictor
from shards.reading.reader import ShardSet


def linked(tree: Path, official: Path) -> Path:
    """The sample as a tree of its own. The only val label of the sample has no picture, so a training picture is made
    a val picture, too."""
    for folder, suffix in (("leftImg8bit", "leftImg8bit.png"), ("gtFine", "gtFine_labelIds.png")):
        files = {split: list((official / folder / split).glob(f"*/*_{suffix}")) for split in ("train", "val")}
        files["val"].append(official / folder / f"train/aachen/aachen_000003_000019_{suffix}")
        for split, found in files.items():
            for file in found:
                place = tree / folder / split / file.parent.name
                place.mkdir(parents=True, exist_ok=True)
                (place / file.name).symlink_to(file)
    return tree


def test_cityscapes_builds_trains_prompts_and_evaluates(realdata: Path, tiny_sd: Path, tmp_path: Path) -> None:
    root = linked(tmp_path / "cityscapes", realdata / "cityscapes")
    sets = build(
        tmp_path, tiny_sd, name="cityscapes", splits=["train", "val"], text=None,
        source={"name": "cityscapes", "root": str(root)},
        views={"name": "segmentation", "mode": "k", "k": 2, "crop": 128, "base": [256, 128]},
        views_of={"val": {"name": "segmentation_tiles", "crop": 128, "stride": 64, "base": [256, 128]}},
        settings={"max_rejects": 0.5},
    )  # fmt: skip
    counts = {split: ShardSet.open(sets / f"cityscapes-{split}").manifest.counts for split in ("train", "val")}
    found = {split: (count["records"], count["view"], count["rejects"]) for split, count in counts.items()}
    assert found == {"train": (2, 4, 0), "val": (1, 3, 1)}
    reject = json.loads((sets / "cityscapes-val/rejects.jsonl").read_text())
    assert reject["key"] == "frankfurt%2Ffrankfurt_000000_000576"
    assert "has no picture" in reject["reason"]
    run = train(
        tmp_path, tiny_sd,
        task={"name": "seg", "classes": 19, "lovasz": 1.0},
        data={"train": str(sets / "cityscapes-train"), "batch_size": 2, "eval_batch_size": 2},
        backbone={"attention_maps": "", "timestep": None, "output_head": True, "resize_skips": True},
        model={
            "prompts": {"count": 7, "passes": 2, "shared": True, "adapter": False},
            "head": {"name": "upernet", "channels": 16, "auxiliary_channels": 8},
        },
        predict_views={"name": "segmentation_tiles", "crop": 128, "stride": 64, "base": [256, 128]},
    )  # fmt: skip
    scores = evaluated(run, sets / "cityscapes-val")
    assert scores["samples"] == 1
    assert 0 <= scores["aAcc"] <= 1
    image = np.asarray(Image.open(root / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"))
    assert Predictor(str(run), device="cpu")(image).shape == (1, 19, 1024, 2048)
