"""COCO keypoints: which persons are cropped, what evaluation still has to know, and files of another form."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.coco_keypoints import source as coco_keypoints
from pipeline.sources.coco_keypoints.source import CocoKeypointsSource
from shards.errors import ConfigError, Reject, SourceError
from tests.pipeline.sources.coco_miniature import ANNOTATIONS, HEIGHT, WIDTH, crowd, person, write_coco

TRAIN, VAL = coco_keypoints.SPLITS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def detected(root: Path, *found: tuple[int, list[float], float], **changes: Any) -> CocoKeypointsSource:
    """The source with a detector's results (image, box, score)."""
    entries = [
        {"image_id": image, "category_id": 1, "bbox": box, "score": score, **changes} for image, box, score in found
    ]
    (root / "found.json").write_text(json.dumps(entries))
    return coco_keypoints.build(root, detections="found.json")


def test_persons_with_keypoints_and_a_box_are_cropped(root: Path) -> None:
    source = coco_keypoints.build(root)
    assert source.keys(TRAIN) == ["000000000003", "000000000007"]
    assert source.counts(TRAIN) == {"images": 2, "boxes": 3, "images_without_boxes": 3, "missed_images": 0}
    example = source.load(TRAIN, "000000000003")
    assert example.boxes_px == ((20.5, 10.0, 32.5, 40.0), (40.0, 4.0, 64.0, 48.0))  # the second one clipped
    assert example.meta["boxes"] == [
        {"box_xywh_px": [20.5, 10.0, 12.0, 30.0], "score": 1.0, "person": 0},
        {"box_xywh_px": [40.0, 4.0, 24.0, 44.0], "score": 1.0, "person": 1},
    ]
    assert example.image.shape == (HEIGHT, WIDTH, 3)
    expected = np.array(Image.open(root / TRAIN / "000000000003.jpg"))
    np.testing.assert_array_equal(example.image, expected)


def test_evaluation_knows_every_person_crowds_too_as_they_stand_in_the_file(root: Path) -> None:
    meta = coco_keypoints.build(root).load(VAL, "000000000003").meta
    assert (meta["image_id"], meta["file_name"]) == (3, "000000000003.jpg")
    assert [p["ann_id"] for p in meta["persons"]] == [11, 12, 13, 14]
    assert [p["iscrowd"] for p in meta["persons"]] == [0, 0, 0, 1]
    assert [p["num_keypoints"] for p in meta["persons"]] == [17, 5, 0, 0]
    assert meta["persons"][1]["box_xywh_px"] == [40, 4, 30, 60]
    assert meta["persons"][1]["keypoints"] == ANNOTATIONS[1]["keypoints"]
    assert "segmentation" not in meta["persons"][3]


def test_a_person_that_cannot_be_cropped_still_counts_as_missed_in_evaluation(root: Path) -> None:
    source = coco_keypoints.build(root)
    assert "000000000009" not in source.keys(TRAIN)
    assert source.counts(VAL) == {"images": 3, "boxes": 4, "images_without_boxes": 2, "missed_images": 1}
    example = source.load(VAL, "000000000009")
    assert example.meta["boxes"] == [{"box_xywh_px": [0, 0, WIDTH, HEIGHT], "score": None, "person": None}]
    assert len(example.meta["persons"]) == 1


def test_a_detectors_boxes_replace_those_of_val2017_only(root: Path) -> None:
    source = detected(root, (3, [1, 2, 10, 20], 0.9), (12, [-4, 0, 10, 10], 0.3), (3, [9, 9, 9, 9], 0.5))
    assert source.keys(TRAIN) == ["000000000003", "000000000007"]
    assert source.load(TRAIN, "000000000003").meta["boxes"][0]["person"] == 0
    assert source.load(VAL, "000000000003").meta["boxes"] == [
        {"box_xywh_px": [1.0, 2.0, 10.0, 20.0], "score": 0.9, "person": None},
        {"box_xywh_px": [9.0, 9.0, 9.0, 9.0], "score": 0.5, "person": None},
    ]
    # A picture of nobody has a false detection; 7 and 9 have persons nobody detected; 8 has neither.
    assert source.keys(VAL) == [f"{i:012d}" for i in (3, 7, 9, 12)]
    assert source.load(VAL, "000000000012").boxes_px == ((0.0, 0.0, 6.0, 10.0),)
    assert source.counts(VAL)["missed_images"] == 2


def test_low_scores_and_other_categories_are_left_out(root: Path) -> None:
    detected(root, (3, [1, 2, 10, 20], 0.9), (3, [1, 2, 10, 20], 0.04))
    source = coco_keypoints.build(root, "found.json", score_min=0.05)
    assert [box["score"] for box in source.load(VAL, "000000000003").meta["boxes"]] == [0.9]
    assert detected(root, (3, [1, 2, 10, 20], 0.9), category_id=3).counts(VAL)["missed_images"] == 3


def test_the_identity_follows_files_and_options_but_no_path(root: Path, tmp_path: Path) -> None:
    plain = coco_keypoints.build(root)
    moved = write_coco(tmp_path / "elsewhere")
    assert coco_keypoints.build(moved).identity(VAL) == plain.identity(VAL)
    found = detected(root, (3, [1, 2, 10, 20], 0.9))
    assert found.identity(TRAIN) == plain.identity(TRAIN)  # detections are of val2017
    others = [found, coco_keypoints.build(root, "found.json", 0.1), detected(moved, (3, [1, 2, 10, 20], 0.8))]
    identities = [json.dumps(source.identity(VAL), sort_keys=True) for source in (plain, *others)]
    assert len(set(identities)) == 4
    assert str(tmp_path) not in "".join(identities)


def test_a_copy_in_another_process_reads_the_same(root: Path) -> None:
    source = detected(root, (3, [1, 2, 10, 20], 0.9))
    copy = pickle.loads(pickle.dumps(source))
    assert copy.identity(VAL) == source.identity(VAL)


def test_photographs_that_are_missing_damaged_or_of_another_size_are_rejects(root: Path) -> None:
    source = coco_keypoints.build(root)
    path = root / TRAIN / "000000000007.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Reject, match="cannot be decoded"):
        source.load(TRAIN, "000000000007")
    Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(Reject, match="is 10 x 10, the annotations say 48 x 64"):
        source.load(TRAIN, "000000000007")
    path.unlink()
    with pytest.raises(Reject, match="does not exist"):
        source.load(TRAIN, "000000000007")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"keypoints": [1.0] * 50}, r"annotation 5: keypoints is .*; expected 51 finite numbers"),
        ({"keypoints": [0, 0, 3] * 17}, "expected 0, 1 or 2"),
        ({"bbox": [1, 2, None, 4]}, "annotation 5: bbox is"),
        ({"area": float("nan")}, "is not valid JSON"),  # JSON has no NaN
        ({"id": "five"}, "'id' is str; expected int"),
        ({"image_id": None}, "'image_id' is NoneType; expected int"),
        ({"iscrowd": "no"}, "'iscrowd' is str; expected int"),
        ({"num_keypoints": 1.5}, "'num_keypoints' is float; expected int"),
        ({"image_id": 99}, "is on image 99, which the file does not list"),
    ],
)
def test_an_annotation_of_another_form_is_named(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    source = coco_keypoints.build(write_coco(tmp_path / "coco", [{**person(5, 3, [1, 1, 9, 9]), **changes}]))
    with pytest.raises(SourceError, match=match):
        source.keys(TRAIN)


def test_labelled_keypoints_count_and_not_what_an_annotation_says_of_them(tmp_path: Path) -> None:
    annotations = [
        person(1, 3, [1, 1, 9, 9], 17, num_keypoints=0),  # would be dropped without a word
        person(2, 7, [1, 1, 9, 9], 0, num_keypoints=5),  # would be a person to learn nothing from
        crowd(3, 3),
        person(4, 3, [1, 1, 9, 9], 5),
    ]
    source = coco_keypoints.build(write_coco(tmp_path / "coco", annotations))
    assert source.keys(TRAIN) == ["000000000003"]
    assert [p["num_keypoints"] for p in source.load(TRAIN, "000000000003").meta["persons"]] == [17, 0, 5]
    assert source.notices(TRAIN) == [
        "2 persons state another num_keypoints than they have labelled keypoints; their keypoints count"
    ]
    assert coco_keypoints.build(write_coco(tmp_path / "fine")).notices(TRAIN) == []


def test_ids_as_text_and_annotations_that_stand_twice_are_repaired_and_counted(tmp_path: Path) -> None:
    one = person(5, 3, [1, 1, 9, 9])
    root = write_coco(tmp_path / "coco", [{**one, "id": "5", "image_id": "3"}, one])
    source = coco_keypoints.build(root)
    assert [p["ann_id"] for p in source.load(TRAIN, "000000000003").meta["persons"]] == [5]
    assert source.notices(TRAIN) == [
        "1 annotations have ids as text; read as numbers",
        "1 annotations stand twice; counted once",
    ]
    other = write_coco(tmp_path / "other", [one, {**one, "bbox": [1, 1, 8, 8]}])
    with pytest.raises(SourceError, match="annotation id 5 stands twice, with different contents"):
        coco_keypoints.build(other).keys(TRAIN)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"id": "three"}, "image 1: 'id' is str; expected int"),
        ({"id": 9}, "image 1: id 9 stands twice, for different photographs"),
        ({"file_name": "../3.jpg"}, "image 1: 'file_name' is .*; expected a path below the folder"),
        ({"height": "48"}, "'height' is str; expected int. It is the number as text"),
        ({"width": 0}, "48 x 0; expected an id from 0 and a positive size"),
    ],
)
def test_a_photograph_of_another_form_is_named(root: Path, changes: dict[str, Any], match: str) -> None:
    path = root / "annotations" / f"person_keypoints_{TRAIN}.json"
    data = json.loads(path.read_text())
    data["images"][1] |= changes
    path.write_text(json.dumps(data))
    with pytest.raises(SourceError, match=match):
        coco_keypoints.build(root).keys(TRAIN)


def test_other_files_of_coco_are_refused(root: Path) -> None:
    path = root / "annotations" / f"person_keypoints_{TRAIN}.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "categories": [{"id": 1, "name": "person"}]}))
    with pytest.raises(SourceError, match=r"instances_\*\.json has none: use person_keypoints"):
        coco_keypoints.build(root).keys(TRAIN)
    path.write_text(json.dumps([1]))
    with pytest.raises(SourceError, match="found list; expected images, annotations and categories"):
        coco_keypoints.build(root).keys(TRAIN)
    path.write_text("{")
    with pytest.raises(SourceError, match="not valid JSON"):
        coco_keypoints.build(root).keys(TRAIN)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"images": []}, "is a dict; expected a list of detections"),
        ([{"image_id": 3, "bbox": [1, 2, 3, 4]}], "entry 0 is .*; expected bbox, category_id, image_id, score"),
        ([{"image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}], "image 000000000004, which is none"),
        ([{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3], "score": 1}], "bbox of entry 0"),
        ([{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "score": "1"}], "score of entry 0"),
    ],
)
def test_detections_of_another_form_are_refused(root: Path, content: Any, match: str) -> None:
    (root / "found.json").write_text(json.dumps(content))
    with pytest.raises(SourceError, match=match):
        coco_keypoints.build(root, "found.json").keys(VAL)


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing annotations/person_keypoints_train2017\.json, train2017"):
        coco_keypoints.build(tmp_path / "nothing").keys(TRAIN)
    with pytest.raises(SourceError, match="no split 'test2017'; expected one of train2017, val2017"):
        coco_keypoints.build(root).keys("test2017")
    with pytest.raises(SourceError, match="no such file; detections="):
        coco_keypoints.build(root, "none.json").keys(VAL)
    with pytest.raises(SourceError, match="no photograph '000000000012' with boxes"):
        coco_keypoints.build(root).load(TRAIN, "000000000012")
    with pytest.raises(ConfigError, match="set detections=FILE"):
        coco_keypoints.build(root, score_min=0.5)
    alone = write_coco(tmp_path / "alone", [person(5, 3, [1, 1, 9, 9], 0)])
    with pytest.raises(SourceError, match="no person of its 5 photographs has keypoints"):
        coco_keypoints.build(alone).keys(TRAIN)


def test_the_real_sample_has_the_known_counts(realdata: Path) -> None:
    source = coco_keypoints.build(realdata / "coco_pose")
    found = {split: source.counts(split) for split in source.splits}
    assert found[TRAIN] == {"images": 7, "boxes": 18, "images_without_boxes": 1, "missed_images": 0}
    assert found[VAL] == {"images": 7, "boxes": 23, "images_without_boxes": 1, "missed_images": 0}
    examples = [source.load(split, key) for split in source.splits for key in source.keys(split)]
    persons = [p for example in examples for p in example.meta["persons"]]
    assert (len(persons), sum(p["iscrowd"] for p in persons)) == (95, 6)
