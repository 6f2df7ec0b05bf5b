"""Reads COCO's files of persons: `person_keypoints_*.json`, and the boxes of a detector on the same photographs.

Owns the forms of both files and every check of what stands in them; a file that does not follow its form is refused as
a whole. What has one plain reading is repaired, and counted for whoever builds: ids as text, an annotation that stands
twice, a `num_keypoints` that is not the number of labelled keypoints. Leaves the choice of boxes, splits and pixels to
`coco_keypoints`. Segmentations are not read.

Forms: docs/methods/data_layouts.md#coco-keypoints; https://cocodataset.org/#format-data and #format-results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.files.entries import number, parse_json, read_bytes, relative_name, taken
from shards.errors import SourceError

KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)
PERSON = 1  # its category


@dataclass(frozen=True)
class Photo:
    """One photograph and all its persons, in the order of the file; crowds among them."""

    image_id: int
    file_name: str
    height: int
    width: int
    persons: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.image_id:012d}"


@dataclass(frozen=True)
class Detection:
    box: tuple[float, float, float, float]  # x, y, width, height
    score: float


def read_photos(path: Path) -> tuple[dict[str, Photo], list[str]]:
    """The photographs of an annotation file by key, ascending, and what was repaired in it, a line each.

    Persons are {ann_id, box_xywh_px, area, iscrowd, num_keypoints, keypoints}, keypoints as in the file: 17 times
    x, y, v in one list.

    Raises:
        SourceError: not a file of person keypoints, with the entry that is not as it should be.
    """
    data = parse_json(read_bytes(path), str(path))
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= data.keys():
        found = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise SourceError(f"{path}: found {found}; expected images, annotations and categories, as of COCO keypoints")
    categories = [entry for entry in taken(data, "categories", list, str(path)) if isinstance(entry, dict)]
    names = [category.get("keypoints") for category in categories if category.get("id") == PERSON]
    if names != [list(KEYPOINTS)]:
        raise SourceError(
            f"{path}: category {PERSON} has the keypoints {names}; expected COCO's 17, from nose to right_ankle. "
            "instances_*.json has none: use person_keypoints_*.json"
        )
    listed: dict[int, Photo] = {}
    for place, entry in enumerate(taken(data, "images", list, str(path))):
        photo = _photo(entry, f"{path}: image {place}")
        if listed.setdefault(photo.image_id, photo) != photo:
            raise SourceError(f"{path}: image {place}: id {photo.image_id} stands twice, for different photographs")
    photos = {image_id: listed[image_id] for image_id in sorted(listed)}
    repaired: dict[str, int] = {"as_text": 0, "twice": 0, "counts": 0}
    persons: dict[int, tuple[int, dict[str, Any]]] = {}
    for annotation in taken(data, "annotations", list, str(path)):
        person = _person(annotation, path)
        ann_id, image_id = person["ann_id"], number(annotation["image_id"], f"{path}: an annotation's 'image_id'")
        if image_id not in photos:
            raise SourceError(f"{path}: annotation {ann_id} is on image {image_id}, which the file does not list")
        repaired["as_text"] += isinstance(annotation["id"], str) or isinstance(annotation["image_id"], str)
        repaired["counts"] += not person["iscrowd"] and person["num_keypoints"] != annotation["num_keypoints"]
        if ann_id in persons:
            if persons[ann_id] != (image_id, person):
                raise SourceError(
                    f"{path}: annotation id {ann_id} stands twice, with different contents; make ids unique"
                )
            repaired["twice"] += 1
            continue
        persons[ann_id] = (image_id, person)
        photos[image_id].persons.append(person)
    return {photo.key: photo for photo in photos.values()}, _in_words(repaired)


def read_detections(path: Path, photos: Mapping[str, Photo], score_min: float) -> dict[str, list[Detection]]:
    """Detected persons by key, in the order of the file.

    Args:
        path: JSON list of {image_id, category_id, bbox, score}, COCO's results form; other categories are left out.
        photos: those of the split.
        score_min: lowest score that is kept.

    Raises:
        SourceError: another form, or an image that is not among `photos`.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file; detections= names a detector's results on these photographs")
    data = parse_json(read_bytes(path), str(path))
    if not isinstance(data, list):
        raise SourceError(f"{path}: is a {type(data).__name__}; expected a list of detections, COCO's results form")
    found: dict[str, list[Detection]] = {}
    for place, entry in enumerate(data):
        wanted = {"image_id", "category_id", "bbox", "score"}
        if not isinstance(entry, dict) or not wanted <= entry.keys():
            raise SourceError(f"{path}: entry {place} is {str(entry)[:80]}; expected {', '.join(sorted(wanted))}")
        if entry["category_id"] != PERSON:
            continue
        box = _numbers(entry["bbox"], 4, f"{path}: bbox of entry {place}")
        (score,) = _numbers([entry["score"]], 1, f"{path}: score of entry {place}")
        key = f"{entry['image_id']:012d}" if type(entry["image_id"]) is int else str(entry["image_id"])
        if key not in photos:
            raise SourceError(f"{path}: entry {place} is on image {key}, which is none of this split's {len(photos)}")
        if score >= score_min:
            found.setdefault(key, []).append(Detection((box[0], box[1], box[2], box[3]), score))
    return found


def _photo(entry: Any, where: str) -> Photo:
    image_id = number(taken(entry, "id", (int, str), where), f"{where}: 'id'")
    height, width = taken(entry, "height", int, where), taken(entry, "width", int, where)
    if image_id < 0 or height < 1 or width < 1:
        raise SourceError(f"{where}: id {image_id}, {height} x {width}; expected an id from 0 and a positive size")
    file_name = relative_name(taken(entry, "file_name", str, where), f"{where}: 'file_name'")
    return Photo(image_id, file_name, height, width)


def _in_words(repaired: Mapping[str, int]) -> list[str]:
    words = {
        "as_text": "annotations have ids as text; read as numbers",
        "twice": "annotations stand twice; counted once",
        "counts": "persons state another num_keypoints than they have labelled keypoints; their keypoints count",
    }
    return [f"{repaired[kind]} {text}" for kind, text in words.items() if repaired[kind]]


def _person(annotation: Any, path: Path) -> dict[str, Any]:
    wanted = {"id", "image_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints"}
    if not isinstance(annotation, dict) or not wanted <= annotation.keys():
        found = sorted(annotation) if isinstance(annotation, dict) else annotation
        raise SourceError(f"{path}: an annotation has {found}; expected {', '.join(sorted(wanted))}")
    where = f"{path}: annotation {annotation['id']}"
    ann_id = number(annotation["id"], f"{where}: 'id'")
    keypoints = _numbers(annotation["keypoints"], 3 * len(KEYPOINTS), f"{where}: keypoints")
    if any(v not in (0, 1, 2) for v in keypoints[2::3]):
        raise SourceError(f"{where}: visibilities are {keypoints[2::3]}; expected 0, 1 or 2")
    (area,) = _numbers([annotation["area"]], 1, f"{where}: area")
    crowd = annotation["iscrowd"]
    is_crowd = number(int(crowd) if isinstance(crowd, bool) else crowd, f"{where}: 'iscrowd'")
    stated = number(annotation["num_keypoints"], f"{where}: 'num_keypoints'")
    return {
        "ann_id": ann_id,
        "box_xywh_px": _numbers(annotation["bbox"], 4, f"{where}: bbox"),
        "area": area,
        "iscrowd": is_crowd,
        "num_keypoints": stated if is_crowd else sum(v > 0 for v in keypoints[2::3]),
        "keypoints": keypoints,
    }


def _numbers(values: Any, count: int, where: str) -> list[float]:
    fine = isinstance(values, list) and len(values) == count
    if not fine or any(type(v) not in (int, float) or not math.isfinite(v) for v in values):
        raise SourceError(f"{where} is {str(values)[:80]}; expected {count} finite numbers")
    return list(values)
