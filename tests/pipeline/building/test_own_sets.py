"""One's own depth and pictures from folders to a set, and what training reads of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import depth_folders, pictures
from pipeline.views import depth, exact
from shards.geometry.view import View, cut_label
from shards.reading.reader import ShardSet
from tests.pipeline.toys import Build, ToyText
from vpd.tasks.depth import task as depth_task

METRES = np.linspace(1.0, 4.0, 64 * 80, dtype=np.float32).reshape(64, 80)


def photo(path: Path, size_px: tuple[int, int] = (64, 80)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size_px, 3), 90, np.uint8)).save(path)


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_depth_of_ones_own_is_trained_in_metres(kind: str, tmp_path: Path) -> None:
    for stem in "ab":
        photo(tmp_path / f"images/train/{stem}.jpg")
        (tmp_path / "depths/train").mkdir(parents=True, exist_ok=True)
        if kind == "png":
            Image.fromarray(np.rint(METRES * 5000).astype(np.uint16)).save(tmp_path / f"depths/train/{stem}.png")
        else:
            np.save(tmp_path / f"depths/train/{stem}.npy", METRES)
    units = {"png": 5000, "npy": 1}[kind]
    source = depth_folders.build(tmp_path, units, 10, splits=["train"], depth_suffix=f".{kind}")
    views = depth.build(mode="k", k=2, crop=48, size=64, cut_depth="none")
    Build(tmp_path / "own-train", source=source, plan=views, text=None).run()
    shards = ShardSet.open(str(tmp_path / "own-train"))
    record = shards.record(0)
    assert record.meta["class_id"] == 0
    sample: Any = SimpleNamespace(
        key=record.key, meta=record.meta, payload=record.payload, array=record.array, row=1, record=record
    )
    found = depth_task.build(max_depth_m=10, crop="none").labels(sample)["depth"]
    expected = cut_label(METRES, View.from_json(record.meta["views"][1]))[:48, :48]
    np.testing.assert_allclose(found, expected, atol=1.1e-4)


def test_captions_are_stored_like_the_sentences_of_a_referring_set(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / f"train/{number}.jpg")
    lines = [{"file_name": f"{n}.jpg", "text": [f"picture {n}", "grey"]} for n in range(2)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = pictures.build(tmp_path, captions="captions.jsonl", missing_caption="empty")
    manifest = Build(tmp_path / "own-train", source=source, plan=exact.build(64), text=ToyText()).run()
    assert (manifest.counts["records"], manifest.counts["items"], manifest.counts["sentence"]) == (3, 3, 5)
    record = ShardSet.open(str(tmp_path / "own-train")).record(1)
    assert record.meta["sentences"] == ["picture 1", "grey"]
    assert record.array("text").shape[0] == 2


def test_pictures_alone_need_no_text(tmp_path: Path) -> None:
    photo(tmp_path / "train/a.jpg")
    (tmp_path / "train/b.jpg").write_bytes(b"no picture")
    source = pictures.build(tmp_path)
    manifest = Build(tmp_path / "own-train", source=source, plan=exact.build(64), text=None).run()
    assert manifest.counts == {"records": 1, "items": 1, "rejects": 1, "view": 1}
    assert "b.jpg cannot be decoded" in (tmp_path / "own-train/rejects.jsonl").read_text()
