"""A Hugging Face dataset saved on the spot, by configuration: built, trained two steps, predicted; no cluster."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_without_ray import run as build
from PIL import Image
from toy_jobs import losses_of
from working_commands import HEADS, TILES, VIEWS

from diffusion_perception import settings
from jobs import build_shards, predict, train
from shards.reading.reader import ShardSet

datasets = pytest.importorskip("datasets")
H, W, ROWS = 60, 80, 5


def png(pixels: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def saved(folder: Path, kind: str) -> Path:
    """Pictures of a square, and what the columns of a kind of data hold."""
    datasets.disable_progress_bars()
    photos, masks = [], []
    for row in range(ROWS):
        photo, mask = np.full((H, W, 3), 40 + row, np.uint8), np.zeros((H, W), np.uint8)
        photo[20:40, 10 * row : 10 * row + 20], mask[20:40, 10 * row : 10 * row + 20] = 220, 1
        photos.append(png(photo))
        masks.append(mask)
    depths = [png(np.linspace(1000, 4000, H * W).astype(np.uint16).reshape(H, W)) for _ in range(ROWS)]
    columns: dict[str, list[Any]] = {
        "seg": {"label": [png(mask) for mask in masks]},
        "refer": {"mask": [png(mask * 255) for mask in masks], "sentences": [["the square", "a square"]] * ROWS},
        "depth": {"depth_map": depths},
        "pictures": {"text": ["a square"] * ROWS},
    }[kind]
    made = datasets.Dataset.from_dict({"image": photos, **columns})
    for column in ("image", "label", "mask", "depth_map"):
        if column in made.column_names:
            made = made.cast_column(column, datasets.Image())
    datasets.DatasetDict({"train": made.select(range(4)), "validation": made.select([4])}).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("kind", ["seg", "refer", "depth", "pictures"])
def test_the_presets_plan_a_saved_dataset(kind: str, tmp_path: Path, tiny_sd: Path, capsys: Any) -> None:
    words = [f"source.dataset={saved(tmp_path / 'mine', kind)}", f"out={tmp_path / 'sets'}", "--dry-run"]
    words += [f"image.model={tiny_sd}", f"text.model={tiny_sd}", "image.revision=", "text.revision="]
    build_shards.run([f"config=configs/build/own_hf_{kind}.yaml", *words])
    said = capsys.readouterr().out
    assert f"own-hf-{kind}-train" in said
    assert not (tmp_path / "sets").exists()


@pytest.mark.parametrize("task", ["seg", "refer"])
def test_a_saved_dataset_is_built_trained_on_and_predicted(
    task: str, tmp_path: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there
    said = settings.read_file(f"configs/build/own_hf_{task}.yaml")
    said["source"]["dataset"] = str(saved(tmp_path / "mine", task))
    said |= {"image": {"name": "sd_vae", "model": str(tiny_sd)}, "out": str(tmp_path)}
    said |= {"text": {"name": "clip_text", "model": str(tiny_sd), "length": 12}}
    said |= {"views": VIEWS[task], "views_of": {"val": TILES[task]}}
    (tmp_path / "build.yaml").write_text(json.dumps(said))
    build([f"config={tmp_path / 'build.yaml'}"])
    found = {split: ShardSet.open(tmp_path / f"own-hf-{task}-{split}").manifest.counts for split in ("train", "val")}
    assert {split: counts["records"] for split, counts in found.items()} == {"train": 4, "val": 1}

    run: dict[str, Any] = {
        "run": {"name": "run", "out": str(tmp_path), "workers": 0},
        "task": {"name": "seg", "classes": 2} if task == "seg" else {"name": "refer"},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd)},
        "data": {"train": str(tmp_path / f"own-hf-{task}-train"), "val": str(tmp_path / f"own-hf-{task}-val")},
        "model": {"head": HEADS[task]},
        "optim": {"schedule": {"name": "poly", "power": 0.9}},
        "loop": {"steps": 2, "log_every_steps": 1, "eval_every_steps": 2},
        "predict_views": TILES[task],
    }
    run["data"] |= {"batch_size": 2, "eval_batch_size": 4, "threads": 0}
    (tmp_path / "train.yaml").write_text(json.dumps(run))
    train.run([f"config={tmp_path / 'train.yaml'}"])
    losses = losses_of(tmp_path / "run")
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses.values())

    Image.new("RGB", (W, H), (200, 90, 9)).save(tmp_path / "new.jpg")
    words = [f"run={tmp_path / 'run'}", f"image={tmp_path / 'new.jpg'}", f"out={tmp_path / 'drawn.png'}"]
    predict.run([*words, f"export={tmp_path / 'answer.png'}", *(["sentence=the square"] if task == "refer" else [])])
    with Image.open(tmp_path / "answer.png") as answer:
        assert answer.size == (W, H)
