"""Other people's folders from `init` to a prediction, by the files it writes: built, trained 20 steps, without Ray.

They lie beside the checkout and are never part of it; without them these tests are skipped. Samples of one picture are
read by `tests/pipeline/sources/test_real_own.py` alone: they are too few to train on.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from toy_folders import CROPS, HEADS
from toy_jobs import build_here, losses_of

from diffusion_perception import settings
from jobs import init, predict, train
from shards.reading.reader import ShardSet

PHOTOS = "../refcoco/images/mscoco/images/train2014"
MM = "source.units_per_metre=1000"
LAYOUTS = {  # task, pictures, labels, words for init
    "mmsegmentation": ("seg", "seg_mmseg_custom/imgs", "seg_mmseg_custom/gts", []),
    "CamVid": ("seg", "seg_camvid_index/images_prepped_train", "seg_camvid_index/annotations_prepped_train", []),
    "Redwood": ("depth", "depth_mm_redwood/color", "depth_mm_redwood/depth", [MM]),
    "run lengths": ("refer", PHOTOS, "refer_jsonl_composed/rle.jsonl", []),
}


@pytest.fixture
def own(realdata: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there
    folder = realdata / "own"
    if not folder.is_dir():
        pytest.skip(f"no sample of own layouts at {folder}: it is not distributed with the code")
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_real_folder_is_built_trained_on_and_predicted(layout: str, own: Path, tmp_path: Path, tiny_sd: Path) -> None:
    task, images, labels, said = LAYOUTS[layout]
    photos = (own / images).resolve()
    init.run(
        [task, f"images={photos}", f"labels={own / labels}", *said, "name=own", f"out={tmp_path}", f"sets={tmp_path}"]
    )

    views, tiles = CROPS[task]
    small = [("views", views), ("image.model", str(tiny_sd)), ("text.model", str(tiny_sd)), ("text.length", "20")]
    plain = settings.read_file(tmp_path / "own.build.yaml", small)
    plain["views_of"] = {split: yaml.safe_load(tiles) for split in plain["splits"][1:]} if tiles else {}
    build_here(plain)
    sets = {split: ShardSet.open(tmp_path / f"own-{split}").manifest.counts["records"] for split in plain["splits"]}
    assert sum(sets.values()) > 1

    words = [f"backbone.model={tiny_sd}", f"model.head={HEADS[task]}", f"run.out={tmp_path}", "run.workers=0"]
    words += ["optim.schedule={name: poly, power: 0.9}", "data.eval_batch_size=4", "loop.log_every_steps=1"]
    words += ["optim.lr=1e-3"]
    train.run([f"config={tmp_path / 'own.train.yaml'}", *words, "loop.steps=20", f"predict_views={tiles or views}"])
    losses = losses_of(tmp_path / "own")
    assert len(losses) == 20
    assert all(math.isfinite(loss) for loss in losses.values())
    first, last = ([losses[step] for step in range(begin, begin + 6)] for begin in (1, 15))  # whole epochs of 2 or 3
    assert np.mean(last) < np.mean(first)

    picture = next(path for path in sorted(photos.iterdir()) if path.suffix in (".jpg", ".png"))
    asked = ["sentence=the person on the left"] if task == "refer" else []
    predict.run([f"run={tmp_path / 'own'}", f"image={picture}", f"out={tmp_path / 'drawn.png'}", *asked])
    with Image.open(tmp_path / "drawn.png") as drawn, Image.open(picture) as shown:
        assert drawn.width == shown.width
