"""A run that answers with normals, from the command: it beats every constant answer, predicts, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from depth_rooms import MODEL

from demo.nyuv2_world import write_nyuv2_world
from diffusion_perception import Predictor, ShardSet
from jobs import build_prompts, evaluate, label_latents, program, train
from tests.jobs.toy_jobs import build_here
from vpd.tasks import normals_label_latents

SIZE = [64, 128]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms of the demo, pictures and all, with label latents of normals and of depth, and the null prompt."""
    root = tmp_path_factory.mktemp("normal_training")
    write_nyuv2_world(root / "world", {"train": 16, "test": 4})
    build_here(
        {
            "name": "rooms",
            "source": {"name": "nyuv2", "form": "mat", "root": str(root / "world")},
            "splits": ["train", "test"],
            "views": {"name": "exact", "size": SIZE},
            "image": {"name": "sd_vae", "model": str(MODEL)},
            "out": str(root),
        }
    )
    told = [f"model={MODEL}", f"set={root}/rooms-test", "device=cpu"]
    label_latents.run([*told, f"out={root}/depth"])
    camera = ["label=normals", "intrinsics=[140,140,80,42]", "window_px=5"]
    for split in ("train", "test"):
        label_latents.run([*told, *camera, f"set={root}/rooms-{split}", f"out={root}/normals-{split}"])
    told = ["names=['']", "prompts.templates=name", "prompts.mode=tokens", "text.length=4", f"text.model={MODEL}"]
    build_prompts.run([*told, f"out={root}/null", "device=cpu"])
    return root


def settings(world: Path, out: Path, **over: Any) -> list[str]:
    """The words of a training command, with its configuration written."""
    plain = {
        "run": {"name": "run", "out": str(out), "workers": 0},
        "task": {"name": "normals_label_latents", "tokens": 4},
        "backbone": {"name": "sd_unet", "model": str(MODEL), "attention_maps": "", "timestep": 999, "own_output": True},
        "data": {"train": f"{world}/normals-train", "val": f"{world}/normals-test", "table": f"{world}/null"},
        "model": {"latent_scale": 0.18215, "head": {"model": str(MODEL)}},
        "optim": {"lr": 1e-3, "schedule": {"name": "poly", "power": 0}},
        "loop": {"steps": 40, "log_every_steps": 1, "eval_every_steps": 40},
    }
    plain["data"]["batch_size"] = 4
    (out / "run.yaml").write_text(yaml.safe_dump(plain))
    return ["--config", f"{out}/run.yaml", *(f"{name}={value}" for name, value in over.items())]


def scored(world: Path, answers: Any) -> dict[str, float]:
    """Scores of an answer `[3, h, w]` for each record of the test set."""
    task, rooms = normals_label_latents.build(), ShardSet.open(world / "normals-test")
    metric = task.new_metric()
    for number in range(rooms.n_records):
        record = rooms.record(number)
        task.score(metric, record, answers(record)[None])
    return metric.compute()


def test_a_run_beats_every_constant_and_predicts(world: Path, tmp_path: Path) -> None:
    train.run(settings(world, tmp_path))
    evaluate.run([f"run={tmp_path}/run", "workers=0", f"sets=[{world}/normals-test]"])
    scores = json.loads((tmp_path / "run" / "evaluation-step-40.json").read_text())["sets"]["normals-test"]
    tilts = np.linspace(0, 90, 13)
    constants = [torch.tensor([0.0, np.sin(np.radians(tilt)), np.cos(np.radians(tilt))]).float() for tilt in tilts]
    of_constants = [scored(world, lambda _, one=one: one[:, None, None].expand(3, *SIZE)) for one in constants]
    assert scores["samples"] == 4
    # of rooms that it was not trained on, through a VAE that shows such colours pale
    assert scores["mean_deg"] < 0.9 * min(found["mean_deg"] for found in of_constants)
    assert scores["rmse_deg"] < 0.8 * min(found["rmse_deg"] for found in of_constants)
    predictor = Predictor(str(tmp_path / "run"), device="cpu")
    (answer,) = predictor(np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8))
    assert answer.shape == (3, 48, 80)
    np.testing.assert_allclose(np.linalg.norm(answer, axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"data.train": "{world}/depth"}, "holds label latents of depth, task normals_label_latents learns normals"),
        ({"task.name": "depth_label_latents"}, "holds label latents of normals, task.space is depth"),
        ({"data.train": "{world}/rooms-train"}, "has no label_latent"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], over: dict[str, str], said: str
) -> None:
    over = {name: value.replace("{world}", str(world)) for name, value in over.items()}
    assert program.status("jobs.train", settings(world, tmp_path, **over)) == 1
    assert said in capsys.readouterr().err
