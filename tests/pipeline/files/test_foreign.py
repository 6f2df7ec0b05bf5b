"""What tools write and no source reads is recognised by its content and refused by name, with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.files import foreign
from pipeline.files.labelme import LabelmeShapes
from pipeline.sources import image_folders, refer_file
from pipeline.sources.coco_segments.annotations import read_annotations
from shards.errors import Reject, SourceError

POLYGON = [[1, 1], [5, 1], [5, 5]]
JSON: list[tuple[Any, foreign.Foreign]] = [
    ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": []}]}], foreign.LABEL_STUDIO),
    ({"size": {"height": 4, "width": 4}, "objects": [{"classTitle": "cat", "bitmap": {}}]}, foreign.SUPERVISELY),
    ({"classes": [{"title": "cat", "shape": "bitmap"}], "tags": []}, foreign.SUPERVISELY),
    ({"a.jpg12": {"filename": "a.jpg", "regions": []}}, foreign.VIA),
    ({"image": {"file_name": "a.jpg"}, "annotations": [{"predicted_iou": 0.9}]}, foreign.SEGMENT_ANYTHING),
    ({"imgHeight": 8, "imgWidth": 8, "objects": [{"label": "road", "polygon": POLYGON}]}, foreign.CITYSCAPES),
    ({"filename": "a.jpg", "grounding": {"regions": []}}, foreign.ODVG),
    ({"text": ["the thing"], "is_sentence": True, "shapes": []}, foreign.REASON_SEG),
    ([{"id": 1, "regions": [{"phrase": "a cup", "x": 0, "y": 0, "width": 3, "height": 3}]}], foreign.REGIONS),
    ([{"task_id": "1__2", "phrase": "a cup", "Polygons": [[POLYGON]]}], foreign.PHRASE_CUT),
    ({"videos": {"v": {"expressions": {}}}}, foreign.VIDEOS),
]
READ: list[Any] = [
    {"shapes": [], "imagePath": "a.jpg"},
    {"images": [], "annotations": [], "categories": []},
    [{"image": "a.jpg", "text": "a cup", "polygon": POLYGON}],
    [{"ref_id": 1, "ann_id": 2, "sentences": ["a cup"]}],
    ["background", "cat"],
    [],
    7,
]


@pytest.mark.parametrize(("data", "expected"), JSON, ids=lambda value: getattr(value, "name", ""))
def test_json_of_tools_is_told_by_its_keys(data: Any, expected: foreign.Foreign, tmp_path: Path) -> None:
    assert foreign.of_json(data) is expected
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert foreign.foreign_below(tmp_path) == (expected, tmp_path / "a.json")


@pytest.mark.parametrize("data", READ)
def test_json_that_is_read_here_is_not_foreign(data: Any) -> None:
    assert foreign.of_json(data) is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("all.xml", "<?xml version='1.0'?>\n<annotations><version>1.1</version><meta/></annotations>", foreign.CVAT),
        ("a.xml", "<annotation><object><bndbox/></object></annotation>", foreign.VOC_BOXES),
        ("a.nii.gz", "", foreign.NIFTI),
        ("task-3-annotation-7-by-1-tag-cat-0.png", "", foreign.LABEL_STUDIO_PNG),
        ("a.txt", "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.1 0.2 0.3\n", foreign.YOLO),
        ("train.txt", "00001\n00002\n", None),
        ("colours.txt", "128 64 128 road\n", None),
        ("feed.xml", "<rss></rss>", None),
        ("broken.json", "{", None),
    ],
)
def test_files_are_told_by_their_content(name: str, text: str, expected: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert foreign.of_file(tmp_path / name) is expected


def objects(root: Path, masks: tuple[str, ...]) -> Path:
    for folder in ("images", "masks"):
        (root / folder / "train").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "images/train/1001.png")
    for name in masks:
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(root / "masks/train" / name)
    return root


def test_a_mask_for_every_object_is_no_label_of_a_picture(tmp_path: Path) -> None:
    root = objects(tmp_path, ("1001_circle_0.png", "1001_square_1.png"))
    source = image_folders.build(root, ["a", "b"], splits=["train"], labels="masks/{split}")
    with pytest.raises(SourceError, match=r"no picture has a label.*one mask a file for every object.*join the masks"):
        source.keys("train")


def test_parts_of_an_object_are_no_masks_of_objects(tmp_path: Path) -> None:
    root = objects(tmp_path, ("1001_parts_1.png", "1001_parts_2.png"))
    assert foreign.hint(root / "images", root / "masks") == ""


def test_sources_that_meet_a_foreign_file_say_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(JSON[1][0]))
    with pytest.raises(Reject, match=r"Supervisely's JSON, which is not read here: export as COCO"):
        LabelmeShapes(("cat",))(path)
    with pytest.raises(SourceError, match=r"a\.json is Supervisely's JSON"):
        read_annotations(path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train.jsonl").write_text(json.dumps(JSON[6][0]) + "\n")
    source = refer_file.build(tmp_path, splits=["train"])
    assert any("grounding boxes in ODVG's form" in line for line in source.notices("train"))
