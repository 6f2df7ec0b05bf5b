"""COCO's annotation files as class labels: overlap, gaps in ids, unlabelled pixels, panoptic PNGs, broken files."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.coco_segments import build
from shards.errors import ConfigError, Reject, SourceError

CATEGORIES = [{"id": 0, "name": "things"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]


def box(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def annotation(number: int, category: int, segmentation: Any, image: int = 1, **other: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **other}


def written(root: Path, *annotations: dict[str, Any], **other: Any) -> Path:
    (root / "train").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "train/a.png")
    images = [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}]
    data = {"images": images, "annotations": list(annotations), "categories": CATEGORIES} | other
    (root / "train/c.json").write_text(json.dumps(data))
    return root


def source(root: Path, unlabelled: str = "background", **options: Any) -> Any:
    return build(root, unlabelled, splits=["train"], annotations="{split}/c.json", **options)


def label(made: Any) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(made.load("train", "000000000001").labels["label"])))


def test_small_segments_lie_on_large_ones_whatever_their_order(tmp_path: Path) -> None:
    large, small = annotation(2, 3, box(0, 0, 6, 6)), annotation(1, 90, box(2, 2, 4, 4))
    expected = np.zeros((6, 8), np.uint8)
    expected[:6, :6] = 2
    expected[2:4, 2:4] = 3
    for order in ((large, small), (small, large)):
        made = pickle.loads(pickle.dumps(source(written(tmp_path, *order))))
        assert made.class_names == ("background", "things", "cat", "dog")
        assert np.array_equal(label(made), expected)
    assert made.keys("train") == ["000000000001"]


def test_unlabelled_pixels_are_ignored_or_a_class_as_declared(tmp_path: Path) -> None:
    root = written(tmp_path, annotation(1, 3, box(0, 0, 8, 3)))
    assert sorted(np.unique(label(source(root, "ignore")))) == [1, 255]
    assert sorted(np.unique(label(source(root, "things")))) == [0, 1]
    assert source(root, "background", classes=["dog", "background", "cat"]).class_names == ("dog", "background", "cat")


def test_categories_that_are_no_class_are_ignored(tmp_path: Path) -> None:
    root = written(tmp_path, annotation(1, 3, box(0, 0, 8, 3)), annotation(2, 90, box(0, 3, 8, 6)))
    assert np.unique(label(source(root, "ignore", classes=["cat"]))).tolist() == [0, 255]
    with pytest.raises(ConfigError, match=r"class 'cats' is no category\. Did you mean 'cat'\?"):
        source(root, "ignore", classes=["cats"])


def test_run_lengths_crowds_and_segments_without_an_area(tmp_path: Path) -> None:
    rle = {"size": [6, 8], "counts": [0, 6, 42]}  # column by column: the first one
    made = source(written(tmp_path, annotation(1, 3, rle, iscrowd=1), annotation(2, 90, [])))
    assert (label(made) == 2).sum() == 6
    assert made.counts("train") == {"images": 1, "segments": 1, "without_area": 1}
    assert made.notices("train") == [
        "train: 1 segments of 1 pictures, 1 without an area",
        "train: 2 of 4 classes without any: things, dog",
    ]


def test_panoptic_pngs_are_classes_by_their_segments(tmp_path: Path) -> None:
    ids = np.array([[0, 300, 70_000]] * 2)
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    root = written(tmp_path)
    Image.fromarray(rgb).save(root / "a_panoptic.png")
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(root / "train/a.png")
    infos = [{"id": 300, "category_id": 90, "iscrowd": 1}, {"id": 70_000, "category_id": 3}]
    entry = {"image_id": 1, "file_name": "a_panoptic.png", "segments_info": infos}
    images = [{"id": 1, "file_name": "a.png", "height": 2, "width": 3}]
    images.append({"id": 2, "file_name": "none.png", "height": 2, "width": 3})  # as in a file of a part
    data = {"images": images, "annotations": [entry], "categories": CATEGORIES}
    (root / "train/c.json").write_text(json.dumps(data))
    made = source(root, "ignore", panoptic=".")
    assert made.keys("train") == ["000000000001"]
    assert label(made).tolist() == [[255, 2, 1]] * 2
    with pytest.raises(SourceError, match="is a panoptic file; set panoptic"):
        source(root, "ignore")
    entry["segments_info"] = infos[:1]
    (root / "train/c.json").write_text(json.dumps(data))
    with pytest.raises(Reject, match="segment 70000 is not in the annotations"):
        label(source(root, "ignore", panoptic="."))
    (root / "a_panoptic.png").unlink()
    with pytest.raises(Reject, match=r"a_panoptic\.png does not exist"):
        label(source(root, "ignore", panoptic="."))


def test_a_turned_picture_keeps_its_stored_pixels_as_the_annotations_do(tmp_path: Path) -> None:
    root = written(tmp_path, annotation(1, 3, box(0, 0, 8, 3)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "train/a.png", exif=exif)
    assert source(root).load("train", "000000000001").image.shape == (6, 8, 3)


def test_a_segmentation_that_cannot_be_drawn_names_its_annotation(tmp_path: Path) -> None:
    root = written(tmp_path, annotation(7, 3, [1, 1, 4, 1, 4, 4]))  # a flat polygon in place of a list of them
    with pytest.raises(Reject, match="image 1: annotation 7: polygon 0 is int"):
        label(source(root))


@pytest.mark.parametrize(
    ("annotations", "other", "match"),
    [
        ([annotation("7", 3, [])], {}, "annotation: 'id' is str; expected int.*write 7 without quotes"),  # type: ignore[arg-type]
        ([], {"categories": [{"id": 1, "name": None}]}, "category 0: 'name' is NoneType; expected str"),
        ([], {"categories": [CATEGORIES[0]] * 2}, "category 0 stands twice"),
        (
            [],
            {"images": [{"id": 1, "file_name": "../a.png", "height": 6, "width": 8}]},
            "expected a file below",
        ),
        (
            [],
            {"images": [{"id": 1, "file_name": "a.png", "height": "6", "width": 8}]},
            "'height' is str; expected int",
        ),
        ([], {"images": []}, "has no picture"),
        ([{"id": 1, "image_id": 1, "file_name": "p.png", "segments_info": None}], {}, "has no one file_name and"),
        ([], {"annotations": None}, "expected the lists images, annotations, categories"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    annotations: list[dict[str, Any]], other: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=match):
        source(written(tmp_path, *annotations, **other))


def test_an_annotation_that_contradicts_the_others_costs_itself_and_is_told(tmp_path: Path) -> None:
    good, twice = annotation(7, 3, box(0, 0, 4, 4)), annotation(7, 90, box(0, 0, 2, 2))
    strange, stray = annotation(8, 4, box(4, 0, 8, 4)), annotation(9, 3, box(0, 0, 1, 1), image=5)
    made = source(written(tmp_path, good, twice, strange, stray))
    expected = np.zeros((6, 8), np.uint8)
    expected[:4, :4] = 2
    assert np.array_equal(label(made), expected)
    assert made.load("train", "000000000001").left_out == (
        "annotation 7 stands twice; the first one is kept",
        "annotation 8 is of category 4, which is not in its categories",
    )
    told = "3 annotations are left out. The first: annotation 9 is of image 5, which is not in its images"
    assert f"train: {told}" in made.notices("train")


def test_files_without_a_segment_of_the_classes_are_refused_before_the_build(tmp_path: Path) -> None:
    made = source(written(tmp_path, annotation(1, 90, box(0, 0, 4, 4))), "ignore", classes=["cat"])
    with pytest.raises(SourceError, match="none of 1 segments is of the classes cat; the file's categories are things"):
        made.notices("train")
    (tmp_path / "train/c.json").write_text("{")
    with pytest.raises(SourceError, match="is not valid JSON"):
        source(tmp_path)
    with pytest.raises(ConfigError, match="is one file for all of a, b"):
        build(tmp_path, "ignore", splits=["a", "b"], annotations="c.json")
