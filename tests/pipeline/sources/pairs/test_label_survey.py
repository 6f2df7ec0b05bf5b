"""What is said, and what is refused, before labels are encoded: 0/255 masks, ADE's rule on two classes, all ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.image_folders import build
from shards.errors import SourceError

CLASSES = ["sound", "crack"]


def written(root: Path, labels: list[np.ndarray]) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for number, values in enumerate(labels):
        Image.fromarray(np.zeros((*values.shape, 3), np.uint8)).save(root / f"images/{number:02d}.png")
        Image.fromarray(values.astype(np.uint8)).save(root / f"labels/{number:02d}.png")
    return root


def survey(root: Path, **options: Any) -> list[str]:
    classes = options.pop("classes", CLASSES)
    return build(root, classes, splits=["train"], images="images", labels="labels", **options).notices("train")


def test_masks_of_0_and_255_with_two_classes_are_refused_until_255_is_declared(tmp_path: Path) -> None:
    root = written(tmp_path, [np.array([[0, 255, 255]])] * 3)
    with pytest.raises(
        SourceError, match=r"only 'sound' occurs in all 3 .*66\.7%.*255 is read as ignore; .*255: crack"
    ):
        survey(root)
    lines = survey(root, values={"0": "sound", "255": "crack"})
    assert lines == ["train: 3 of 3 labels looked at: crack 66.7%, sound 33.3%; ignored 0.0%"]
    with pytest.raises(SourceError, match="Declare what the values mean"):
        survey(root, ignore_values=[255])  # declared, and still nothing to learn


def test_ades_rule_copied_to_labels_that_count_from_0_is_refused(tmp_path: Path) -> None:
    root = written(tmp_path, [np.array([[0, 1]])])
    with pytest.raises(SourceError, match="0 is read as no class, and 1 as 'sound'; if 0 is 'sound', leave"):
        survey(root, zero_is_ignored=True)
    assert survey(root)


def test_labels_that_are_ignored_everywhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"every pixel of all 2 labels in .*labels is ignored"):
        survey(written(tmp_path, [np.full((2, 2), 255)] * 2))


def test_a_rare_class_that_the_sample_missed_is_no_reason_to_refuse(tmp_path: Path) -> None:
    labels = [np.array([[0, 255]])] * 60
    labels[1] = np.array([[0, 1]])  # the sample takes every second file
    assert any("60 of 60 labels looked at" in line for line in survey(written(tmp_path, labels)))


def test_classes_never_seen_much_ignored_and_missing_partners_are_said_aloud(tmp_path: Path) -> None:
    root = written(tmp_path, [np.array([[0, 1, 255, 255, 255]]), np.array([[9]])])
    Image.new("RGB", (2, 2)).save(root / "images/lonely.png")
    Image.new("L", (2, 2)).save(root / "labels/odd.png")
    lines = survey(root, classes=[*CLASSES, "hole"])
    assert lines[0] == "train: 1 pictures have no label, and will be rejects"
    assert lines[1] == "train: 1 labels have no picture, and will be rejects"
    assert "1 of 3 classes not seen in them: hole" in lines[3]
    assert "1 of them cannot be used. The first: label" in lines[-1]


def test_more_than_half_ignored_is_asked_about(tmp_path: Path) -> None:
    assert (
        "more than half of the pixels are ignored" in survey(written(tmp_path, [np.array([[0, 1, 255, 255, 255]])]))[-1]
    )


def test_values_that_nobody_declared_are_found_before_the_build(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"none of 2 labels can be read\. The first: .*value 7 in 1 pixels is not decl"
    ):
        survey(written(tmp_path, [np.array([[0, 7]])] * 2))
