"""A user's own folders: suffixes, sub-folders, class lists, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.image_folders import build
from pipeline.sources.pairs.matching import key_of
from shards.contract.schema import check_key
from shards.errors import ConfigError, Reject, SourceError

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
        ({"splits": ["a", "a"]}, "expected different names, at least one"),
        ({"splits": ["a"], "shares": {"a": 1}}, "each name the splits; give one of them"),
        ({"labels": "labels", "shares": {"a": 1}}, "has a folder for each split already"),
        ({"images": "i", "labels": "l", "shares": {"a": 0.7, "b": 0.4}}, r"add up to 1\.1; expected"),
        ({"images": "i", "labels": "l", "shares": {"a": 0.6, "b": 0.3}}, r"add up to 0\.9; .*Name the rest too"),
        ({"values": {"0": "sound", "1": "hole"}}, "values names 'hole', which is none of the classes"),
        ({"values": {"0": "sound"}}, "values give class 'crack' no value"),
        ({"values": {"off": "sound", "1": "crack"}}, "values has the key 'off'; expected label values"),
        ({"values": {"0": "sound", "1": "crack"}, "ignore_values": [1]}, "value 1 is class 'crack', and ignore_values"),
        ({"values": {"0": "sound", "1": "crack"}, "zero_is_ignored": True}, "leave zero_is_ignored out"),
        ({"coding": "rgb"}, "coding is 'rgb'; expected one of index, colour"),
        ({"coding": "colour"}, "class 'sound' has none. Give colours"),
        ({"coding": "colour", "colours": {"sound": [0, 0, 0], "crack": [0, 0]}}, "expected three levels"),
        ({"coding": "colour", "colours": {"sound": [0, 0, 0], "crack": [0, 0, 0]}}, "stands for two classes"),
        ({"coding": "colour", "zero_is_ignored": True}, "are of numbers; coding colour has colours"),
        ({"colours": {"sound": [0, 0, 0]}}, "set coding: colour"),
        ({"ignored_classes": ["void"]}, "ignored_classes names 'void', which is none of the classes"),
        ({"ignored_classes": CLASSES}, "are ignored; leave a class"),
        ({"labels": "labels"}, "'labels' is one folder for all of train, val"),
        ({"labels": "images/{split}"}, "both in 'images/{split}'; give them two folders"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        build(str(tmp_path), **{"classes": CLASSES, **options})


def test_names_with_prefixes_in_one_folder_and_a_list_pair_up(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"all/img_{number}.png", f"all/gt_{number}.png", np.array([[number % 2, 1]]))
    (tmp_path / "train.txt").write_text("0\nimg_2.png\n9\n")
    source = build(
        tmp_path, CLASSES, images="all", labels="all", image_prefix="img_", label_prefix="gt_",
        lists={"train": "train.txt"}, image_suffix=".png",
    )  # fmt: skip
    assert source.keys("train") == ["0", "2", "9"]
    assert label_of(source, "train", "2").tolist() == [[0, 1]]
    with pytest.raises(Reject, match=r"'9' is named in the list of the split; there is no img_9\.png"):
        source.load("train", "9")


def test_roboflow_masks_beside_the_pictures(tmp_path: Path) -> None:
    write(tmp_path, "train/a.jpg", "train/a_mask.png", np.array([[0, 1]]))
    write(tmp_path, "train/b.png", "train/b_mask.png", np.array([[1, 1]]))
    (tmp_path / "train/_classes.csv").write_text("Pixel Value, Class\n0, sound\n1, crack\n")
    source = build(
        tmp_path, "train/_classes.csv", splits=["train"], images="{split}", labels="{split}", label_suffix="_mask.png"
    )
    assert source.keys("train") == ["a", "b"]
    assert source.class_names == ("sound", "crack")


def test_a_list_of_two_paths_needs_no_common_names(tmp_path: Path) -> None:
    write(tmp_path, "p/a.png", "q/b.png", np.array([[0, 1]]))
    (tmp_path / "val.txt").write_text("/p/a.png /q/b.png\n/p/none.png /q/b.png\n")
    source = build(tmp_path, CLASSES, lists={"val": "val.txt"})
    assert label_of(source, "val", "p%2Fa").tolist() == [[0, 1]]
    assert source.load("val", "p%2Fa").meta["file_name"] == "a.png"
    with pytest.raises(Reject, match="has no picture"):
        source.load("val", "p%2Fnone")


def test_shares_of_one_folder_are_splits_that_do_not_overlap(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, f"i/{number}.png", f"l/{number}.png", np.array([[0, 1]]))
    source = build(tmp_path, CLASSES, images="i", labels="l", shares={"train": 0.8, "val": 0.2}, seed=3)
    assert [source.counts(split)["images"] for split in source.splits] == [8, 2]
    assert not set(source.keys("train")) & set(source.keys("val"))
    assert source.identity("train")["names_and_sizes_sha256"] != source.identity("val")["names_and_sizes_sha256"]


def test_colours_of_a_class_file_with_ignored_ones(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.zeros((1, 3), np.uint8))
    colours = np.array([[(0, 0, 0), (128, 0, 0), (224, 224, 192)]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "labels/train/a.png")
    (tmp_path / "labelmap.txt").write_text("# label\nsound:0,0,0::\ncrack:128,0,0::\nignored:224,224,192::\n")
    options: Any = {"splits": ["train"], "coding": "colour", "ignored_classes": ["ignored"]}
    source = build(tmp_path, "labelmap.txt", **options)
    assert source.class_names == ("sound", "crack")
    assert label_of(pickle.loads(pickle.dumps(source)), "train", "a").tolist() == [[0, 1, 255]]
    given = build(
        tmp_path, CLASSES, splits=["train"], coding="colour", colours={"sound": [0, 0, 0], "crack": [1, 0, 0]}
    )
    with pytest.raises(
        Reject, match=r"colour \(128, 0, 0\) in 1 pixels, \(224, 224, 192\) in 1 pixels are not declared"
    ):
        given.load("train", "a")
    assert given.identity("train") != source.identity("train")


def test_labelme_files_are_labels(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png", "none/a.png", np.zeros((4, 4)))
    shape = {"label": "crack", "points": [[0, 0], [1, 0], [1, 1], [0, 1]], "shape_type": "polygon"}
    (tmp_path / "train/a.json").write_text(json.dumps({"shapes": [shape], "imageHeight": 4, "imageWidth": 4}))
    options: Any = {"splits": ["train"], "images": "{split}", "labels": "{split}", "coding": "labelme"}
    source = build(tmp_path, ["background", "crack"], **options)
    assert label_of(source, "train", "a").sum() == 4


def test_labels_of_objects_are_refused_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hold objects, numbered in every picture anew.*classes are in Segmentation"):
        build(tmp_path, CLASSES, splits=["train"], labels="SegmentationObject")
    with pytest.raises(ConfigError, match="classes are in files ending in _labelIds"):
        build(tmp_path, CLASSES, splits=["train"], label_suffix="_gtFine_instanceIds.png")


def test_a_label_on_the_stored_pixels_of_a_turned_picture_must_be_declared(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.zeros((2, 3)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "images/train/a.png", exif=exif)
    with pytest.raises(Reject, match=r"Declare orientation: stored"):
        build(tmp_path, CLASSES, splits=["train"]).load("train", "a")
    stored = build(tmp_path, CLASSES, splits=["train"], orientation="stored")
    assert stored.load("train", "a").image.shape == (2, 3, 3)
    assert stored.identity("train")["orientation"] == "stored"


def test_the_identity_of_plain_folders_is_the_one_it_always_was(tmp_path: Path) -> None:
    """Sets that exist must not be refused by a new option's name."""
    write(tmp_path, "images/train/a.png", "labels/train/a.png", np.array([[0, 1]]))
    assert set(build(tmp_path, CLASSES, splits=["train"]).identity("train")) == {
        "name", "split", "images", "labels", "image_suffix", "label_suffix", "zero_is_ignored", "classes_sha256",
        "pairs", "names_and_sizes_sha256",
    }  # fmt: skip
