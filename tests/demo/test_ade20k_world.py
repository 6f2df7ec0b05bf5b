"""The written world is the official layout: the real source reads it, and finds what was drawn."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.ade20k_world import CLASSES, GREY_EVERY, frame_of, label_of, write_ade20k_world
from demo.world import LABELS
from pipeline.sources.ade20k import build

IMAGES = {"training": GREY_EVERY, "validation": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ade20k_world(tmp_path_factory.mktemp("world"), IMAGES, seed=3)


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(root: Path, tmp_path: Path) -> None:
    few = {"validation": 2}
    first = hashes(write_ade20k_world(tmp_path / "a", few, seed=3))
    assert first == hashes(write_ade20k_world(tmp_path / "b", few, seed=3))
    other = hashes(write_ade20k_world(tmp_path / "c", few, seed=4))
    assert first.keys() == other.keys()
    assert all(other[name] != first[name] for name in first if name.endswith((".jpg", ".png")))


def test_the_source_finds_every_scene_as_it_was_drawn(root: Path) -> None:
    source = build(root)
    assert source.class_names == CLASSES
    for split, count in IMAGES.items():
        assert source.counts(split) == {"images": count}
        for number, key in enumerate(source.keys(split), 1):
            scene, picture = frame_of(3, split, number)
            example = source.load(split, key)
            payload = example.labels["label"]
            assert isinstance(payload, bytes)
            found = np.array(Image.open(io.BytesIO(payload)))
            drawn = np.array(LABELS)[picture.labels]
            for value in np.unique(found):
                names = set(drawn[found == value])
                assert names == ({CLASSES[value]} if value != 255 else {"pebbles"})
            assert example.meta["scene"] == ("hall" if scene.pole_px else "room")
            assert example.image.shape == picture.image.shape


def test_the_odd_sides_of_the_real_files_are_there(root: Path) -> None:
    photos = [Image.open(path) for path in sorted((root / "images/training").iterdir())]
    assert {photo.mode for photo in photos} == {"L", "RGB"}
    assert len({photo.size for photo in photos}) > 2
    labels = [np.array(Image.open(path)) for path in sorted((root / "annotations/training").iterdir())]
    assert any((label == 0).any() for label in labels)
    rows = [line.split("\t") for line in (root / "objectInfo150.txt").read_text().splitlines()]
    assert rows[0] == ["Idx", "Ratio", "Train", "Val", "Name"]
    assert all(row[4].endswith(" ") for row in rows[1:])
    for k, row in enumerate(rows[1:], 1):
        assert int(row[2]) == sum((label == k).any() for label in labels)


def test_the_label_says_0_for_what_has_no_class() -> None:
    _, picture = frame_of(0, "training", 1)
    label = label_of(picture)
    assert label.dtype == np.uint8
    assert set(np.unique(label)) <= set(range(len(CLASSES) + 1))


def test_splits_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected training, validation"):
        write_ade20k_world(tmp_path, {"train": 1})
