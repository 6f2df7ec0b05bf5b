"""A folder of one's own from `init` to a prediction, by the files it writes: built, trained three steps, no cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_folders import CROPS, HEADS, H, W, masks, metres, sentences
from toy_jobs import build_here, losses_of

from diffusion_perception import settings
from jobs import init, predict, train
from shards.reading.reader import ShardSet


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there


@pytest.mark.parametrize(
    ("task", "layout", "asked"),
    [("seg", masks, []), ("depth", metres, ["export={out}.npy"]), ("refer", sentences, ["sentence=the square"])],
    ids=["masks of 0 and 255 by lists", "metres in one folder", "boxes by a key"],
)
def test_a_folder_of_one_s_own_is_looked_at_built_trained_on_and_predicted(
    task: str, layout: Callable[[Path], list[str]], asked: list[str], tmp_path: Path, tiny_sd: Path
) -> None:
    init.run([task, *layout(tmp_path / "data"), "name=own", f"out={tmp_path}", f"sets={tmp_path / 'sets'}"])

    views, tiles = CROPS[task]
    small = [("views", views), ("image.model", str(tiny_sd)), ("text.model", str(tiny_sd)), ("text.length", "12")]
    small += [("views_of", f"{{val: {tiles}}}")] if tiles else []
    build_here(settings.read_file(tmp_path / "own.build.yaml", small))
    found = {split: ShardSet.open(tmp_path / f"sets/own-{split}").manifest.counts for split in ("train", "val")}
    assert {split: counts["records"] for split, counts in found.items()} == {"train": 4, "val": 1}

    words = [f"backbone.model={tiny_sd}", f"model.head={HEADS[task]}", f"run.out={tmp_path}", "run.workers=0"]
    words += ["optim.schedule={name: poly, power: 0.9}", "data.eval_batch_size=4", "loop.log_every_steps=1"]
    words += ["loop.epochs=3", "loop.eval_every_steps=0"] if task == "depth" else ["loop.steps=3"]
    words += ["loop.eval_every_steps=3"] if task != "depth" else []
    train.run([f"config={tmp_path / 'own.train.yaml'}", *words, f"predict_views={tiles or views}"])
    losses = losses_of(tmp_path / "own")
    assert len(losses) >= 3
    assert all(math.isfinite(loss) for loss in losses.values())

    (picture,) = [*(tmp_path / "data").rglob("0.png"), *(tmp_path / "data").rglob("00_img.jpg")]
    out = tmp_path / "drawn"
    predict.run(
        [
            f"run={tmp_path / 'own'}",
            f"image={picture}",
            f"out={out}.png",
            *(word.replace("{out}", str(out)) for word in asked),
        ]
    )
    with Image.open(f"{out}.png") as drawn:
        assert drawn.width >= W
    if task == "depth":
        depth_m = np.load(f"{out}.npy")
        assert depth_m.shape == (H, W)
        assert np.isfinite(depth_m).all()
