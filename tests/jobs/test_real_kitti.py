"""The real KITTI sample through the jobs: build, two steps of Meta Prompts, evaluation of every window."""

from __future__ import annotations

from pathlib import Path

from short_runs import build, evaluated, train

from shards.reading.reader import ShardSet


def test_kitti_builds_trains_prompts_and_evaluates(realdata: Path, tiny_sd: Path, tmp_path: Path) -> None:
    lists = {f"{split}_list": "filenames/eigen_like_list.txt" for split in ("train", "test")}
    sets = build(
        tmp_path, tiny_sd, name="kitti", splits=["train", "test"], text=None,
        source={"name": "kitti", "root": str(realdata / "kitti"), "images": "raw", "depths": "gts", **lists},
        views={"name": "depth", "mode": "replay", "epochs": 2, "recipe": "meta_prompts_kitti", "size": 64},
        views_of={"test": {"name": "depth_tiles", "frame": [352, 1216], "windows": 16, "enlarge": 64}},
    )  # fmt: skip
    counts = {split: ShardSet.open(sets / f"kitti-{split}").manifest.counts for split in ("train", "test")}
    assert {split: count["records"] for split, count in counts.items()} == {"train": 3, "test": 3}
    assert (counts["train"]["view"], counts["test"]["view"]) == (6, 96)
    run = train(
        tmp_path, tiny_sd,
        task={"name": "depth", "max_depth_m": 80.0, "crop": "garg", "view_fit": "enlarged"},
        data={"train": str(sets / "kitti-train"), "batch_size": 2, "eval_batch_size": 16},
        backbone={"attention_maps": "", "timestep": None, "output_head": True, "resize_skips": True},
        model={
            "prompts": {"count": 6, "passes": 2},
            "head": {"name": "prompt_depth", "neck_filters": 8, "filters": [8, 8, 8], "hidden": 8},
        },
    )  # fmt: skip
    scores = evaluated(run, sets / "kitti-test")
    assert scores["samples"] == 3
    assert 5 < scores["rmse"] < 80  # an untrained head says 40 metres; streets are 5 to 85 metres long
