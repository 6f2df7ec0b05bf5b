"""The real samples, in their official layouts, through the jobs: build, a short training run, evaluation.

They lie beside the checkout and are never part of it; without them these tests are skipped, and say so.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from short_runs import build, evaluated, train

from shards.reading.reader import ShardSet


def test_refcoco_builds_with_the_known_counts_trains_and_evaluates(
    realdata: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    sets = build(
        tmp_path, tiny_sd, name="refcoco", splits=["train", "val", "testA", "testB"],
        source={"name": "refcoco", "root": str(realdata / "refcoco")}, views={"name": "exact", "size": 64},
    )  # fmt: skip
    counts = {split: ShardSet.open(sets / f"refcoco-{split}").manifest.counts for split in ("val", "testA", "testB")}
    found = {split: (c["records"], c["items"], c["sentence"]) for split, c in counts.items()}
    assert found == {"val": (6, 18, 51), "testA": (2, 6, 18), "testB": (6, 15, 44)}
    data = {"train": str(sets / "refcoco-train"), "val": "", "batch_size": 4}
    run = train(tmp_path, tiny_sd, task={"name": "refer"}, data=data)
    assert evaluated(run, sets / "refcoco-val")["samples"] == 51


@pytest.mark.parametrize("form", ["mat", "folders"])
def test_nyuv2_builds_from_both_forms_trains_and_evaluates(
    realdata: Path, tiny_sd: Path, tmp_path: Path, form: str
) -> None:
    root = realdata / "nyuv2"
    source = {"name": "nyuv2", "root": str(root), "form": form, "unknown": "mean"}
    if form == "mat":
        source["splits"] = "splits_sample.mat"
    sets = build(
        tmp_path, tiny_sd, name="nyuv2", splits=["train", "test"], source=source,
        views={"name": "depth", "mode": "replay", "epochs": 2, "crop": 480, "size": 512},
        views_of={"test": {"name": "depth_tiles"}}, prompts={"templates": "photo"},
        settings={"image_batch": 4},
    )  # fmt: skip
    records = {split: ShardSet.open(sets / f"nyuv2-{split}").n_records for split in ("train", "test")}
    assert records == ({"train": 3, "test": 3} if form == "mat" else {"train": 3, "test": 2})
    if form == "folders":
        return  # the same from here on, and 512 pixels are slow on a CPU
    data = {"train": str(sets / "nyuv2-train"), "batch_size": 1, "eval_batch_size": 4}
    run = train(
        tmp_path, tiny_sd, task={"name": "depth"}, data=data, backbone={"attention_maps": ""},
        model={"head": {"width": 64, "hidden": 16}}, loop={"steps": 1, "log_every_steps": 1},
    )  # fmt: skip
    scores = evaluated(run, sets / "nyuv2-test")
    assert scores["samples"] == 3
    assert scores["rmse"] > 0


def test_ade20k_multi_scale_and_flip_is_the_same_on_one_and_two_workers(
    realdata: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    # The smallest pictures of the sample: 150 classes at ten scales and flips take seconds for each megapixel.
    official, tree = realdata / "ade20k" / "ADEChallengeData2016", tmp_path / "ADEChallengeData2016"
    for split, n in (("training", 3), ("validation", 3)):
        (tree / "images" / split).mkdir(parents=True)
        (tree / "annotations" / split).mkdir(parents=True)
        chosen = sorted((official / "images" / split).glob("*.jpg"), key=lambda path: path.stat().st_size)[:n]
        for photo in chosen:
            label = official / "annotations" / split / f"{photo.stem}.png"
            (tree / "images" / split / photo.name).symlink_to(photo)
            (tree / "annotations" / split / label.name).symlink_to(label)
    for name in ("objectInfo150.txt", "sceneCategories.txt"):
        (tree / name).symlink_to(official / name)
    sets = build(
        tmp_path, tiny_sd, name="ade", splits=["training", "validation"],
        source={"name": "ade20k", "root": str(tree)}, prompts={"templates": "photo"},
        views={"name": "segmentation", "mode": "k", "k": 2, "crop": 64, "base": [256, 64]},
        views_of={
            "validation": {
                "name": "segmentation_tiles", "crop": 64, "stride": 43, "base": [256, 64],
                "ratios": [1.0, 1.125, 1.25, 1.375, 1.5], "flip": True,
            }
        },
    )  # fmt: skip
    data = {"train": str(sets / "ade-training"), "batch_size": 2}
    run = train(tmp_path, tiny_sd, task={"name": "seg"}, data=data, model={"head": {"channels": 32}})
    one, two = (evaluated(run, sets / "ade-validation", workers) for workers in (0, 2))
    assert one["samples"] == 3
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
