"""Layouts of labels, made on the spot: what is found in each, and that its source reads them to the right values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders_of_people import H, W, coco, coloured, folders, label, labelme, panoptic, photo, save
from PIL import Image

from pipeline.layouts import seg
from pipeline.layouts.guess import Guess
from pipeline.sources import coco_segments, image_folders
from shards.errors import ConfigError, SourceError

BAR = H * W // 2  # pixels of one of two bars
SOURCES = {"image_folders": image_folders, "coco_segments": coco_segments}


def values(guess: Guess) -> dict[str, Any]:
    return {name: option.value for name, option in guess.options.items()}


def looked(images: Path, labels: Path) -> tuple[Guess, Any]:
    """The guess, and the source that it comes to."""
    guess = seg.look(str(images), str(labels))
    return guess, SOURCES[guess.source].build(guess.root, **values(guess))


def counts(source: Any, split: str) -> dict[str, int]:
    """Pixels by name of the class of the split's first picture."""
    payload = source.load(split, source.keys(split)[0]).labels["label"]
    found, pixels = np.unique(np.array(Image.open(io.BytesIO(payload))), return_counts=True)
    names = [source.class_names[value] if value != 255 else "ignored" for value in found]
    return dict(zip(names, pixels.tolist(), strict=True))


def test_folders_for_each_split_and_values_that_count_up(tmp_path: Path) -> None:
    root = folders(tmp_path, label(0, 2, 255, 1), ("train", "val", "test"))
    guess, source = looked(root / "images", root / "labels")
    assert values(guess)["images"] == "images/{split}"
    assert (guess.splits.train, guess.splits.val, guess.splits.names) == ("train", "val", ("train", "val", "test"))
    assert counts(source, "test") == dict.fromkeys(("class_0", "class_1", "class_2", "ignored"), H * W // 4)
    assert (guess.classes, guess.pictures, guess.size_px) == (3, 5, (H, W))
    assert any("255 is read as no class" in note for note in guess.notes)


def test_masks_of_0_and_255_are_two_classes_and_nothing_is_ignored(tmp_path: Path) -> None:
    root = folders(tmp_path, label(0, 255))
    guess, source = looked(root / "images", root / "labels")
    assert values(guess)["shares"] == {"train": 0.8, "val": 0.2}
    assert [len(source.keys(split)) for split in ("train", "val")] == [guess.pictures, 1] == [4, 1]
    assert counts(source, "train") == {"background": BAR, "thing": BAR}


def test_one_folder_of_each_kind_with_prefixes_suffixes_and_lists(tmp_path: Path) -> None:
    for number in range(12):
        photo(tmp_path / f"imgs/{number:03}_img.jpg")
        save(tmp_path / f"gts/gt_{number:03}.png", label(0, 1), [0, 0, 0, 255, 0, 0])
    (tmp_path / "splits").mkdir()
    for split, numbers in (("train", range(9)), ("val", range(9, 12))):
        (tmp_path / f"splits/{split}.txt").write_text("".join(f"{n:03}\n" for n in numbers))
    guess, source = looked(tmp_path / "imgs", tmp_path / "gts")
    assert values(guess)["lists"] == {"train": "splits/train.txt", "val": "splits/val.txt"}
    assert (len(source.keys("train")), len(source.keys("val"))) == (guess.pictures, 3) == (9, 3)
    assert counts(source, "val") == {"class_0": BAR, "class_1": BAR}


@pytest.mark.parametrize(
    ("images", "labels"), [("train", "trainannot"), ("images_prepped_train", "annotations_prepped_train")]
)
def test_the_split_inside_a_folder_s_name(images: str, labels: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(2):
            photo(tmp_path / images.replace("train", split) / f"{number}.png")
            save(tmp_path / labels.replace("train", split) / f"{number}.png", label(0, 1))
    guess, source = looked(tmp_path / images, tmp_path / labels)
    assert values(guess)["labels"] == labels.replace("train", "{split}")
    assert counts(source, "val") == {"class_0": BAR, "class_1": BAR}


def test_one_folder_for_all_and_a_class_list(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / f"{number}.jpg")
        save(tmp_path / f"{number}_mask.png", label(0, 1))
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car body\n")
    guess, source = looked(tmp_path, tmp_path)
    assert values(guess)["label_suffix"] == "_mask.png"
    assert counts(source, "train") == {"background": BAR, "car body": BAR}


def test_labelme_s_json_beside_the_pictures(tmp_path: Path) -> None:
    guess, source = looked(labelme(tmp_path), tmp_path)
    assert values(guess)["coding"] == "labelme"
    assert counts(source, "train") == {"background": H * W - 2 * 81, "bus": 81, "car": 81}
    assert guess.classes == 3


def test_colours_with_a_list_and_without(tmp_path: Path) -> None:
    colours = {1: (128, 64, 128), 2: (0, 128, 192)}
    root = folders(tmp_path, coloured(label(1, 2), colours))
    guess, source = looked(root / "images", root / "labels")
    assert counts(source, "train") == {"colour_128_64_128": BAR, "colour_0_128_192": BAR}
    assert any("which colour is no class" in note for note in guess.notes)
    (root / "label_colors.txt").write_text("128 64 128 Road\n0 128 192 Bicyclist\n0 0 0 Void\n")
    guess, source = looked(root / "images", root / "labels")
    assert counts(source, "train") == {"Road": BAR, "Bicyclist": BAR}
    assert values(guess)["ignored_classes"] == ["Void"]
    (root / "label_colors.txt").write_text("128 64 128 Road\n")
    with pytest.raises(SourceError, match=r"the colour \(0, 128, 192\), which label_colors.txt does not list"):
        seg.look(str(root / "images"), str(root / "labels"))


def test_values_with_gaps_are_declared_one_by_one(tmp_path: Path) -> None:
    root = folders(tmp_path, label(7, 33, 100, 0))
    guess, source = looked(root / "images", root / "labels")
    assert values(guess)["values"] == {0: "class_0", 7: "class_7", 33: "class_33", 100: "class_100"}
    assert counts(source, "train")["class_100"] == H * W // 4


def test_arrays_whose_minus_one_is_no_class(tmp_path: Path) -> None:
    for number in range(2):
        photo(tmp_path / f"images/{number}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        np.save(tmp_path / f"labels/{number}.npy", label(0, 1).astype(np.int32) * 2 - 1)
    guess, source = looked(tmp_path / "images", tmp_path / "labels")
    assert values(guess)["ignore_values"] == [-1]
    assert counts(source, "train")["ignored"] == BAR


def test_the_full_ade20k_by_its_names_and_channels(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        photo(tmp_path / split / "street/1.jpg")
        save(tmp_path / split / "street/1_seg.png", coloured(label(1, 2), {1: (15, 145, 2), 2: (71, 39, 1)}))
        save(tmp_path / split / "street/1_parts_1.png", coloured(label(1, 2), {1: (15, 1, 2), 2: (7, 9, 1)}))
        (tmp_path / split / "street/1.json").write_text('{"annotation": {"object": []}}')
    guess, source = looked(tmp_path, tmp_path)
    assert guess.splits.val == "validation"
    assert counts(source, "training") == {"class_401": BAR, "class_1831": BAR}


def test_coco_files_of_tools_with_ids_with_gaps(tmp_path: Path) -> None:
    guess, source = looked(coco(tmp_path), tmp_path)
    assert (guess.source, guess.splits.val, guess.classes) == ("coco_segments", "valid", 3)
    assert counts(source, "valid") == {"background": H * W - 16 * 12, "cat": 16 * 12}


def test_panoptic_pngs_are_read_by_the_json_beside_them(tmp_path: Path) -> None:
    root = panoptic(tmp_path)
    for labels in (root / "panoptic", root / "panoptic.json"):
        guess, source = looked(root / "pictures", labels)
        assert guess.splits.val == "", "one file is one split"
        assert counts(source, "train") == {"cat": BAR, "ignored": BAR}


def test_objects_numbered_in_every_picture_are_refused_by_the_folder_s_name(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / f"JPEGImages/{number}.jpg")
        save(tmp_path / f"SegmentationObject/{number}.png", label(0, 1, 2))
    with pytest.raises(ConfigError, match="hold objects"):
        looked(tmp_path / "JPEGImages", tmp_path / "SegmentationObject")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda p: save(p.with_suffix(".jpg"), label(0, 99)), "JPEG, which changes values"),
        (lambda p: save(p, (np.arange(H * W) + 1000).reshape(H, W).astype(np.uint16)), "768 values up to 1767"),
        (lambda p: save(p, RANDOM_COLOURS), "no class list lies beside them"),
        (lambda p: save(p, label(255, 255)), "which stand for no class"),
    ],
    ids=["lossy", "ids of objects", "colours of objects", "nothing but ignored"],
)
def test_what_cannot_be_labels_of_classes_is_refused(write: Any, says: str, tmp_path: Path) -> None:
    for number in range(2):
        photo(tmp_path / f"images/{number}.png")
        write(tmp_path / f"labels/{number}.png")
    with pytest.raises(SourceError, match=says):
        seg.look(str(tmp_path / "images"), str(tmp_path / "labels"))


RANDOM_COLOURS = np.random.default_rng(1).integers(0, 256, (H, W, 3), dtype=np.uint8)


def test_a_mask_a_file_for_every_object_is_refused_by_name(tmp_path: Path) -> None:
    photo(tmp_path / "images/1001.png")
    for name in ("1001_circle_0", "1001_square_1"):
        save(tmp_path / f"masks/{name}.png", label(0, 255))
    with pytest.raises(SourceError, match="one mask a file for every object"):
        seg.look(str(tmp_path / "images"), str(tmp_path / "masks"))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        ("absent", "labels", r"images=.*absent is no folder; .* holds images, labels"),
        ("images", "images/0.jpg", "is not valid JSON"),
        ("labels", "images", "partner by its name"),
    ],
)
def test_folders_that_are_none_are_named(images: str, labels: str, says: str, tmp_path: Path) -> None:
    root = folders(tmp_path, label(0, 1))
    if labels == "images":
        for path in (root / "labels").iterdir():
            path.rename(path.with_suffix(".txt"))
    with pytest.raises(SourceError, match=says):
        seg.look(str(root / images), str(root / labels))
