"""A user's own folders: suffixes, sub-folders, class lists, and what is refused."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.image_folders import build
from pipeline.sources.pairs.labels import key_of
from shards.contract.schema import check_key
from shards.errors import ConfigError, SourceError

CLASSES = ["sound", "crack"]


def write(root: Path, image: str, label: str, values: np.ndarray, palette: bool = False) -> None:
    for name in (image, label):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*values.shape, 3), np.uint8)).save(root / image)
    picture = Image.fromarray(values.astype(np.uint8))
    if palette:
        picture.putpalette(bytes(range(256)) * 3)
    picture.save(root / label)


def label_of(source: Any, split: str, key: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(source.load(split, key).labels["label"])))


def test_values_are_class_indices_and_255_is_ignored(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255], [1, 1, 0]])
    write(tmp_path, "images/train/a.png", "labels/train/a.png", values)
    source = build(str(tmp_path), CLASSES, splits=["train"])
    assert np.array_equal(label_of(source, "train", "a"), values)
    assert source.load("train", "a").meta["classes"] == 2
    assert "0 to 1" in source.label_fields[0].unit


def test_zero_can_be_no_class(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.array([[0, 1, 2]]))
    source = build(str(tmp_path), CLASSES, splits=["train"], zero_is_ignored=True)
    assert np.array_equal(label_of(source, "train", "a"), [[255, 0, 1]])


def test_palette_labels_are_read_by_index(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.array([[1, 0]]), palette=True)
    assert np.array_equal(label_of(build(str(tmp_path), CLASSES, splits=["train"]), "train", "a"), [[1, 0]])


def test_cityscapes_names_and_sub_folders_pair_up(tmp_path: Path) -> None:
    values = np.array([[0, 1]])
    write(tmp_path, "leftImg8bit/val/ulm/ulm_01_leftImg8bit.png", "gtFine/val/ulm/ulm_01_gtFine_ids.png", values)
    (tmp_path / "gtFine/val/ulm/ulm_01_gtFine_color.png").write_bytes(b"another file beside the labels")
    source = build(
        str(tmp_path),
        CLASSES,
        splits=["val"],
        images="leftImg8bit/{split}",
        labels="gtFine/{split}",
        image_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_ids.png",
    )
    assert source.keys("val") == ["ulm%2Fulm_01"]
    example = pickle.loads(pickle.dumps(source)).load("val", "ulm%2Fulm_01")
    assert example.meta["file_name"] == "ulm/ulm_01_leftImg8bit.png"


@pytest.mark.parametrize("stem", ["a.b", "sub/a", "Bild № 1", "_x", "__x", "100%", "~a b"])
def test_any_file_name_becomes_a_key_that_a_shard_takes(stem: str) -> None:
    check_key(key_of(stem))
    assert len({key_of(stem), key_of(stem + "%2E"), key_of(stem + ".")}) == 3


def test_two_pictures_for_one_label_stop_the_build(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.array([[0]]))
    write(tmp_path, "images/train/a.jpg", "labels/train/a.png", np.array([[0]]))
    with pytest.raises(SourceError, match="have the same name; remove one"):
        build(str(tmp_path), CLASSES, splits=["train"]).keys("train")


def test_a_picture_of_16_bits_keeps_its_range(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.array([[0, 1]]))
    Image.fromarray(np.array([[32768, 65535]], np.uint16)).save(tmp_path / "images/train/a.png")
    image = build(str(tmp_path), CLASSES, splits=["train"]).load("train", "a").image
    assert image.tolist() == [[[128] * 3, [255] * 3]]


def test_classes_come_from_a_list_or_a_file_beside_the_data(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\ufeff# in the order of the values\nsound\n crack \n\n")
    sources = [build(str(tmp_path), classes) for classes in (CLASSES, "classes.txt", str(tmp_path / "classes.txt"))]
    assert {source.class_names for source in sources} == {("sound", "crack")}
    with pytest.raises(SourceError, match="cannot be read"):
        build(str(tmp_path), str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": []}, "expected at least one name"),
        ({"classes": [False, True]}, "holds False, a bool and no text.*Quote it: 'False'"),
        ({"classes": ["a", "b", "a"]}, "class 'a' is listed twice"),
        ({"classes": [f"c{k}" for k in range(256)]}, "256 classes; 8-bit labels hold 1 to 255"),
        ({"classes": [f"c{k}" for k in range(255)], "zero_is_ignored": True}, "hold 1 to 254"),
        ({"splits": []}, "expected different names, at least one"),
        ({"labels": "labels"}, "'labels' is one folder for all of train, val"),
        ({"labels": "images/{split}"}, "both in 'images/{split}'; give them two folders"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        build(str(tmp_path), **{"classes": CLASSES, **options})
