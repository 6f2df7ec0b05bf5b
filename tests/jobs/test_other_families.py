"""Families beside Stable Diffusion 1 and 2, from pictures to predictions: built, trained, evaluated, published, asked.

One line of a build's `image` and `text` and one of a training's `backbone` change; nothing else does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_jobs import build_here, train_here, train_settings

from demo.ade20k_world import CLASSES, write_ade20k_world
from demo.nyuv2_world import write_nyuv2_world
from demo.refcoco_world import write_refcoco_world
from diffusion_perception import Predictor
from jobs import evaluate, publish
from shards.errors import ConfigError
from tests.tiny_pipelines import tiny_pipeline

STEPS = 20
FAMILIES = {  # the backbone's plug-in and the text encoder's
    "sdxl": ("sd_unet", "sdxl_text"),
    "pixart": ("diffusion_transformer", "pixart_text"),
    "sd3": ("diffusion_transformer", "sd3_text"),
    "flux": ("diffusion_transformer", "flux_text"),
}
TASKS: dict[str, dict[str, Any]] = {
    "refer": {"task": {"name": "refer"}, "sets": ("refer-train", "refer-val"), "head": {"hidden": 16}},
    "depth": {"task": {"name": "depth"}, "sets": ("depth-train", "depth-test"), "head": {"width": 32, "hidden": 16}},
    "seg": {
        "task": {"name": "seg", "classes": len(CLASSES)},
        "sets": ("seg-training", "seg-validation"),
        "head": {"channels": 16},
    },
}
SOURCES: dict[str, dict[str, Any]] = {
    "refer": {"source": {"name": "refcoco"}, "splits": ["train", "val"], "views": {"name": "exact", "size": 64}},
    "depth": {
        "source": {"name": "nyuv2", "form": "mat"},
        "splits": ["train", "test"],
        "views": {"name": "depth", "mode": "k", "k": 1, "crop": 60, "size": 64},
        "views_of": {"test": {"name": "depth_tiles", "size": 64, "short_side": 60, "stride": 40}},
        "prompts": {"templates": "photo", "mode": "pooled"},
    },
    "seg": {
        "source": {"name": "ade20k"},
        "splits": ["training", "validation"],
        "views": {"name": "segmentation", "mode": "k", "k": 1, "crop": 64, "base": [256, 64]},
        "views_of": {"validation": {"name": "segmentation_tiles", "crop": 64, "stride": 43, "base": [256, 64]}},
        "prompts": {"templates": "photo", "mode": "pooled"},
    },
}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("worlds")
    write_refcoco_world(folder / "refer", images={"train": 3, "val": 1, "testA": 1, "testB": 1}, seed=3)
    write_nyuv2_world(folder / "depth", {"train": 4, "test": 1})
    write_ade20k_world(folder / "seg", {"training": 4, "validation": 1})
    return {task: folder / task for task in TASKS}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small model's folder."""
    folder = tmp_path_factory.mktemp(family)
    tiny_pipeline(family, folder / "words").save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def sets(family: str, model: Path, worlds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the three tasks."""
    out = tmp_path_factory.mktemp("sets")
    for task, root in worlds.items():
        told = dict(SOURCES[task])
        told["source"] = told["source"] | {"root": str(root)}
        image = {"name": "sd_vae", "model": str(model)}
        text = {"name": FAMILIES[family][1], "model": str(model), "length": 48}
        build_here({"name": task, "image": image, "text": text, "out": str(out), **told})
    return out


@pytest.mark.parametrize("task", TASKS)
def test_a_family_learns_and_is_asked(task: str, family: str, model: Path, sets: Path, tmp_path: Path) -> None:
    train, val = (str(sets / name) for name in TASKS[task]["sets"])
    over = {
        "backbone.name": FAMILIES[family][0], "data.train": train, "data.val": val, "data.threads": 0,
        "loop.steps": STEPS, "loop.eval_every_steps": STEPS, "model.head": TASKS[task]["head"], "optim.lr": 3e-3,
    }  # fmt: skip
    losses = list(train_here(train_settings(sets, model, tmp_path, over=over) | {"task": TASKS[task]["task"]}).values())
    assert len(losses) == STEPS
    assert sum(losses[-4:]) < sum(losses[:4])

    evaluate.run([f"run={tmp_path}/run", "workers=0"])
    (scores,) = json.loads((tmp_path / "run" / f"evaluation-step-{STEPS}.json").read_text())["sets"].values()
    assert scores["samples"] > 0

    places = [tmp_path / "run"]
    if (family, task) == ("sd3", "refer"):  # whose text encoder is three models, or two, and a transformer's width
        with pytest.raises(ConfigError, match="which files belong to the encoder 'sd3_text' is not known here"):
            publish.run([f"run={tmp_path}/run", f"out={tmp_path}/published"])
    else:
        publish.run([f"run={tmp_path}/run", f"out={tmp_path}/published"])
        places.append(tmp_path / "published")
    picture = np.random.default_rng(0).integers(0, 256, (60, 72, 3), np.uint8)
    asked = ["the red circle"] if task == "refer" else []
    said = [Predictor(str(place), device="cpu", checkpoint="last")(picture, asked) for place in places]
    assert said[0].shape[-2:] == (60, 72)
    assert np.isfinite(said[0]).all()
    assert all(np.array_equal(said[0], other) for other in said[1:])
