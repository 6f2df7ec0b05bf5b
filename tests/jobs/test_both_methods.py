"""VPD and Meta Prompts train from the same shard sets: nothing is rebuilt, and the learned prompts read no text."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_jobs import build_here, train_here, train_settings

from demo.ade20k_world import CLASSES, write_ade20k_world
from demo.nyuv2_world import write_nyuv2_world
from diffusion_perception.assembly.run import build_parts
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from diffusion_perception.trained import load_trained
from shards.errors import ConfigError

LEARNED = {"attention_maps": "", "timestep": None, "output_head": True}
SIZES = {"train": 4, "test": 1}
DATA = {"depth": ("depth-train", "depth-test"), "seg": ("seg-training", "seg-validation")}
TASKS: dict[str, Any] = {"depth": {"name": "depth"}, "seg": {"name": "seg", "classes": len(CLASSES)}}
HEADS: dict[str, Any] = {
    "depth": {"width": 32, "hidden": 16},
    "seg": {"channels": 16},
    "depth, meta prompts": {"name": "prompt_depth", "neck_filters": 8, "filters": [8, 8, 8], "hidden": 16},
    "seg, meta prompts": {"name": "upernet", "channels": 16, "auxiliary_channels": 16},
}


@pytest.fixture(scope="module")
def shard_sets(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of the demo's worlds, built as VPD needs them: with class prompts, and depth padded to whole blocks."""
    folder = tmp_path_factory.mktemp("worlds")
    shared: dict[str, Any] = {
        "image": {"name": "sd_vae", "model": str(tiny_sd)},
        "text": {"name": "clip_text", "model": str(tiny_sd), "length": 16},
        "prompts": {"templates": "photo", "mode": "pooled"},
        "out": str(folder),
    }
    build_here(
        {
            "name": "depth",
            "source": {"name": "nyuv2", "form": "mat", "root": str(write_nyuv2_world(folder / "nyuv2", SIZES))},
            "splits": ["train", "test"],
            "views": {"name": "depth", "mode": "k", "k": 2, "crop": 120, "size": 128},
            "views_of": {"test": {"name": "depth_tiles", "size": 128}},
            **shared,
        }
    )
    pictures = {"training": SIZES["train"], "validation": SIZES["test"]}
    build_here(
        {
            "name": "seg",
            "source": {"name": "ade20k", "root": str(write_ade20k_world(folder / "ade20k", pictures))},
            "splits": ["training", "validation"],
            "views": {"name": "segmentation", "mode": "k", "k": 2, "crop": 128, "base": [512, 128]},
            "views_of": {"validation": {"name": "segmentation_tiles", "crop": 128, "stride": 85, "base": [512, 128]}},
            **shared,
        }
    )
    return folder


def settings_of(task: str, method: str, sets: Path, tiny_sd: Path, out: Path) -> dict[str, Any]:
    train, val = (str(sets / name) for name in DATA[task])
    over = {
        "data.train": train, "data.val": val, "data.batch_size": 2, "data.eval_batch_size": 4, "loop.steps": 2,
        "loop.eval_every_steps": 2, "model.head": HEADS[task + method], "run.name": f"{task}{method}",
    }  # fmt: skip
    if method:
        over |= {f"backbone.{name}": value for name, value in LEARNED.items()}
        over |= {"model.prompts": {"count": 5, "passes": 2, "shared": task == "seg", "adapter": task == "depth"}}
    return train_settings(sets, tiny_sd, out, over=over) | {"task": TASKS[task]}


@pytest.mark.parametrize("task", ["depth", "seg"])
def test_both_methods_train_and_evaluate_from_one_set(
    task: str, shard_sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    def hashes() -> dict[str, str]:
        files = [path for name in DATA[task] for path in (shard_sets / name).iterdir() if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = hashes()
    for method in ("", ", meta prompts"):
        losses = train_here(settings_of(task, method, shard_sets, tiny_sd, tmp_path))
        assert all(loss == loss and loss > 0 for loss in losses.values())
        trained = load_trained(
            str(tmp_path / f"{task}{method}"), "best", torch.device("cpu")
        )  # chosen by an evaluation
        weights = trained.model.state_dict()
        assert any(name.startswith("prompts.") for name in weights) == bool(method)
        assert ("class_embeddings" in weights) != bool(method)
    assert hashes() == before


def test_learned_prompts_are_refused_where_the_text_says_what_to_find(
    sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    over = {f"backbone.{name}": value for name, value in LEARNED.items()}
    settings = train_settings(sets, tiny_sd, tmp_path, over=over | {"model.prompts": {"count": 5, "passes": 2}})
    with pytest.raises(ConfigError, match="task refer finds what a sentence says"):
        build_parts(bind(TrainJob, settings), torch.device("cpu"))
