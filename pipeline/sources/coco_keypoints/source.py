"""COCO keypoints 2017: persons with 17 keypoints each, on COCO photographs.

Origin       cocodataset.org; keypoints of val2017 and train2017
Layout       <root>/annotations/person_keypoints_{train,val}2017.json
             <root>/{train,val}2017/%012d.jpg
Record       one photograph; key = COCO image id in 12 digits. meta["persons"]: every person annotated on it, crowds and
             persons without keypoints too, because evaluation needs them; meta["boxes"]: the boxes that are cropped
Items        one box = one person to estimate
Licence      see `card`

Which boxes are cropped. Ground truth (always for training): every person that is no crowd and has a labelled keypoint,
with the score 1, its box clipped to the picture, and a size left. `detections`, for val2017 only: the boxes of a
detector, from a file in COCO's results form, as published comparisons of top-down methods use them.

A photograph without a box has no key. One exception keeps average precision honest: a photograph of val2017 with a
person to find but no box to find it in stays, with the whole picture as a box whose score is null: nothing is predicted
for it, and its persons count as missed.

Owns the layout, the choice of boxes and the rejects. Leaves reading annotations to `coco_persons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.example import Example
from pipeline.files.photos import load_photo
from pipeline.rendering.geometry import box_inside
from pipeline.reopened import Reopened
from pipeline.sources.coco_keypoints.persons import Detection, Photo, read_detections, read_photos
from shards.contract.schema import Field
from shards.errors import ConfigError, SourceError
from shards.storage.atomic import sha256_file

SPLITS = ("train2017", "val2017")
EVALUATION = "val2017"
PUBLISHED = {  # photographs with a person that has keypoints, and those persons
    "train2017": {"images": 56599, "boxes": 149813},
    "val2017": {"images": 2346, "boxes": 6352},
}


@dataclass(frozen=True)
class _Split:
    """The photographs of a split that have a key, and their boxes as in meta["boxes"]."""

    photos: Mapping[str, Photo]
    boxes: Mapping[str, list[dict[str, Any]]]
    n_listed: int
    sha256: str
    detections_sha256: str
    notices: tuple[str, ...]


def build(root: str | Path, detections: str | Path = "", score_min: float = 0.0) -> CocoKeypointsSource:
    """The source; nothing is read before the first call of a method.

    Args:
        root: holds annotations/, train2017/ and val2017/.
        detections: file of a detector's boxes on val2017, a JSON list of {image_id, category_id, bbox, score};
            relative to `root`, or absolute. Empty: the boxes of the annotations.
        score_min: lowest score of a detection that is cropped.

    Raises:
        ConfigError: `score_min` without detections.
    """
    if score_min and not detections:
        raise ConfigError("source coco_keypoints: score_min chooses among detections; set detections=FILE too")
    return CocoKeypointsSource(Path(root), str(detections), float(score_min))


class CocoKeypointsSource(Reopened):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and reads the files again."""

    name = "coco_keypoints"
    splits = SPLITS
    item_axis = "view"
    label_fields: tuple[Field, ...] = ()  # keypoints ride in meta

    def __init__(self, root: Path, detections: str, score_min: float) -> None:
        self.root, self.detections, self.score_min = root, detections, score_min
        self._lock = Lock()
        self._loaded: dict[str, _Split] = {}

    def keys(self, split: str) -> list[str]:
        """Twelve-digit image ids, ascending."""
        return list(self._split(split).photos)

    def load(self, split: str, key: str) -> Example:
        """Reject: the JPEG is missing, damaged or not of the annotated size."""
        found = self._split(split)
        if key not in found.photos:
            raise SourceError(f"{self.root}: {split} has no photograph {key!r} with boxes; keys look like 000000000139")
        photo, boxes = found.photos[key], found.boxes[key]
        meta = {
            "image_id": photo.image_id,
            "file_name": photo.file_name,
            "height": photo.height,
            "width": photo.width,
            "persons": photo.persons,
            "boxes": boxes,
        }
        size_px = (photo.height, photo.width)
        image = load_photo(self.root / split / photo.file_name, size_px, photo.image_id)
        return Example(key, image, meta, boxes_px=tuple(box_inside(box["box_xywh_px"], *size_px) for box in boxes))

    def files_of(self, split: str, key: str) -> dict[str, Path]:
        """The photograph; persons and boxes are in files of all."""
        photo = self._split(split).photos[key]
        return {photo.file_name: self.root / split / photo.file_name}

    def identity(self, split: str) -> dict[str, Any]:
        """Options and file hashes. The photographs are not hashed: they are named and sized by the annotations."""
        found = self._split(split)
        identity: dict[str, Any] = {"name": self.name, "split": split, "sha256": found.sha256}
        if found.detections_sha256:
            identity |= {"detections_sha256": found.detections_sha256, "score_min": self.score_min}
        return identity

    def counts(self, split: str) -> dict[str, int]:
        """ "images" that have a key and their "boxes", "images_without_boxes" that have none, and "missed_images" that
        are kept for their persons only."""
        found = self._split(split)
        boxes = [box for group in found.boxes.values() for box in group]
        missed = sum(box["score"] is None for box in boxes)
        return {
            "images": len(found.photos),
            "boxes": len(boxes),
            "images_without_boxes": found.n_listed - len(found.photos),
            "missed_images": missed,
        }

    def notices(self, split: str) -> list[str]:
        """What was repaired in the annotation file."""
        return list(self._split(split).notices)

    @staticmethod
    def card() -> dict[str, Any]:
        return {
            "title": "COCO keypoints 2017",
            "origin": "Persons of COCO train2017 and val2017 with 17 keypoints each, annotated by the COCO consortium.",
            "licence": "Annotations: CC BY 4.0. Photographs: each under the Flickr licence named in the annotation "
            "files, many of them non-commercial or without derivatives.",
            "terms": "COCO does not own the photographs; their use must follow the Flickr terms of use. They show "
            "identifiable people.",
            "url": "https://cocodataset.org/#keypoints-2017",
            "splits": PUBLISHED,
        }

    def _split(self, split: str) -> _Split:
        if split not in SPLITS:
            raise SourceError(f"COCO keypoints has no split {split!r}; expected one of {', '.join(SPLITS)}")
        with self._lock:
            if split not in self._loaded:
                self._loaded[split] = self._read(split)
            return self._loaded[split]

    def _read(self, split: str) -> _Split:
        annotations = Path("annotations", f"person_keypoints_{split}.json")
        missing = [str(path) for path in (annotations, Path(split)) if not (self.root / path).exists()]
        if missing:
            raise SourceError(
                f"{self.root}: is not a COCO folder; missing {', '.join(missing)}. Expected "
                "annotations/person_keypoints_{train,val}2017.json and the photographs in train2017/ and val2017/, as "
                "annotations_trainval2017.zip, train2017.zip and val2017.zip unpack."
            )
        photos, notices = read_photos(self.root / annotations)
        evaluation, detections = split == EVALUATION, None
        if evaluation and self.detections:
            path = self.root / self.detections
            detections = read_detections(path, photos, self.score_min)
        boxes = {
            key: found for key, photo in photos.items() if (found := _boxes(photo, detections, keep_missed=evaluation))
        }
        if not boxes:
            raise SourceError(f"{self.root / annotations}: no person of its {len(photos)} photographs has keypoints")
        return _Split(
            photos={key: photos[key] for key in boxes},
            boxes=boxes,
            n_listed=len(photos),
            sha256=sha256_file(self.root / annotations),
            detections_sha256="" if detections is None else sha256_file(self.root / self.detections),
            notices=tuple(notices),
        )


def _boxes(
    photo: Photo, detections: Mapping[str, list[Detection]] | None, *, keep_missed: bool
) -> list[dict[str, Any]]:
    """The boxes to crop, {box_xywh_px, score, person}; person is the index in meta["persons"], null for a detection."""
    size = (photo.height, photo.width)
    wanted = [i for i, p in enumerate(photo.persons) if not p["iscrowd"] and p["num_keypoints"] > 0]
    if detections is None:
        given = [(photo.persons[i]["box_xywh_px"], 1.0, i) for i in wanted]
    else:
        given = [(found.box, found.score, None) for found in detections.get(photo.key, [])]
    boxes = [
        {"box_xywh_px": [x0, y0, x1 - x0, y1 - y0], "score": score, "person": person}
        for box, score, person in given
        for x0, y0, x1, y1 in [box_inside(box, *size)]
        if x0 < x1 and y0 < y1
    ]
    if not boxes and wanted and keep_missed:
        whole = [0.0, 0.0, float(photo.width), float(photo.height)]
        boxes = [{"box_xywh_px": whole, "score": None, "person": None}]
    return boxes
