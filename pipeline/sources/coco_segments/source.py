"""COCO's annotation files as semantic labels: instances, stuff, panoptic, and what tools export in their form.

Layout       <root>/<annotations>, a JSON file for each split, and <root>/<images>/<file_name of the JSON>
             panoptic files also have <root>/<panoptic>/<file_name of the annotation>
             `{split}` stands for the split's name in all three
Record       one picture of the file; key = its image id in 12 digits
Labels       classes in the order of their ids, which may have gaps, or of `classes`; pixels of no segment as
             `unlabelled` says, since nothing in the files does

Owns the options and the record. Leaves the file to `annotations` and the order of overlaps to `draw`. Sizes are the
annotations', so pictures keep the orientation of their pixels.

    source: {name: coco_segments, root: data/mine, annotations: "{split}/_annotations.coco.json", images: "{split}",
             splits: [train, valid], unlabelled: background}
    source: {name: coco_segments, root: data/coco, annotations: "annotations/panoptic_{split}.json", images: "{split}",
             panoptic: "annotations/panoptic_{split}", splits: [train2017, val2017], unlabelled: ignore}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pipeline.example import Example
from pipeline.files.class_list import class_list
from pipeline.files.label_png import IGNORE, encode_label
from pipeline.files.photos import load_photo
from pipeline.reopened import Reopened
from pipeline.sources.coco_segments.annotations import Annotations, Photo, read_annotations
from pipeline.sources.coco_segments.draw import drawn, of_panoptic
from pipeline.sources.pairs.labels import LABEL
from shards.contract.schema import Field
from shards.errors import ConfigError, SourceError, did_you_mean
from shards.storage.atomic import sha256_file

UNLABELLED = "ignore"


@dataclass(frozen=True)
class Places:
    """Files and folders below the root; `{split}` stands for the split."""

    annotations: str
    images: str
    panoptic: str

    def of(self, root: Path, split: str) -> tuple[Path, Path, Path]:
        found = [root / text.replace("{split}", split) for text in (self.annotations, self.images, self.panoptic)]
        return found[0], found[1], found[2]


def build(
    root: str | Path,
    unlabelled: str,
    splits: Sequence[str] = ("train", "val"),
    annotations: str = "annotations/instances_{split}.json",
    images: str = "{split}",
    panoptic: str = "",
    classes: str | Sequence[str] = (),
    title: str = "",
) -> CocoSegmentsSource:
    """The source.

    Args:
        root: folder the others are relative to.
        unlabelled: what pixels of no segment are: `ignore`, or the name of a class of their own, `background`, which
            comes first if `classes` does not say where.
        splits: names of the splits.
        annotations: JSON file of a split.
        images: folder of its pictures.
        panoptic: folder of the PNGs of a panoptic file.
        classes: names of the categories that are classes, in the order of the labels; segments of others are ignored.
            Empty: all categories of the first split's file, by their ids.
        title: for the set's README.

    Raises:
        ConfigError: no splits, one annotation file for several, or a class that no category is called.
        SourceError: an annotation file that cannot be read.
    """
    where = "source coco_segments"
    names = tuple(splits)
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"{where}: splits is {list(names)}; expected different names, at least one")
    if len(names) > 1 and "{split}" not in annotations:
        raise ConfigError(f"{where}: {annotations!r} is one file for all of {', '.join(names)}; put {{split}} into it")
    listed = class_list(classes, Path(root), f"{where}: classes").names if classes else ()
    return CocoSegmentsSource(Path(root), names, Places(annotations, images, panoptic), unlabelled, listed, title)


class CocoSegmentsSource(Reopened):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and reads the files again."""

    name = "coco_segments"
    item_axis = "view"

    def __init__(
        self,
        root: Path,
        splits: tuple[str, ...],
        places: Places,
        unlabelled: str,
        classes: tuple[str, ...],
        title: str,
    ) -> None:
        self.root, self.splits, self.places, self.unlabelled = root, splits, places, unlabelled
        self.title = title or root.name
        self._lock = Lock()
        self._read: dict[str, tuple[Annotations, dict[str, Photo]]] = {}
        self.class_names = self._classes(classes)
        if not 1 <= len(self.class_names) <= IGNORE:
            raise ConfigError(
                f"source coco_segments: {len(self.class_names)} classes; a set holds 1 to {IGNORE} of them"
            )
        unit = f"class index 0 to {len(self.class_names) - 1} at the picture's own size, {IGNORE} = ignore"
        self.label_fields = (Field(LABEL, "png", unit=unit),)

    def keys(self, split: str) -> list[str]:
        """Image ids, ascending; of panoptic files those that have a PNG."""
        return list(self._split(split)[1])

    def counts(self, split: str) -> dict[str, int]:
        """`images`; for people also the `segments`, and those `without_area`, which are not drawn."""
        found, photos = self._split(split)
        segments = sum(map(len, found.segments.values()))
        return {"images": len(photos), "segments": segments, "without_area": found.without_area}

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or panoptic PNG is missing, damaged or of another size, or a segmentation cannot be drawn."""
        photos = self._split(split)[1]
        if key not in photos:
            raise SourceError(f"{self.root}: split {split} has no image {key!r}; keys look like {next(iter(photos))}")
        photo = photos[key]
        image = load_photo(self.places.of(self.root, split)[1] / photo.file_name, photo.size_px, photo.image_id)
        meta = {
            "image_id": photo.image_id,
            "file_name": photo.file_name,
            "height": photo.size_px[0],
            "width": photo.size_px[1],
            "ignore": IGNORE,
            "classes": len(self.class_names),
        }
        labels = {LABEL: encode_label(self._label(split, photo))}
        left_out = self._split(split)[0].left_out.get(photo.image_id, ())
        return Example(key, image, meta, labels=labels, left_out=left_out)

    def notices(self, split: str) -> list[str]:
        """What the whole file names, in lines for a person. SourceError: nothing in it is of a declared class."""
        found, photos = self._split(split)
        class_of = self._class_of(found)
        segments = [segment for group in found.segments.values() for segment in group]
        used = {class_of[segment.category_id] for segment in segments if segment.category_id in class_of}
        if not used:
            raise SourceError(
                f"split {split}: none of {len(segments)} segments is of the classes {', '.join(self.class_names)}; the "
                f"file's categories are {', '.join(found.categories.values())}"
            )
        used |= {self.class_names.index(self.unlabelled)} if self.unlabelled in self.class_names else set()
        lines = [f"{split}: {len(segments)} segments of {len(photos)} pictures, {found.without_area} without an area"]
        if absent := [name for place, name in enumerate(self.class_names) if place not in used]:
            lines.append(
                f"{split}: {len(absent)} of {len(self.class_names)} classes without any: {', '.join(absent[:8])}"
            )
        lost = [*found.strays, *(reason for reasons in found.left_out.values() for reason in reasons)]
        if lost:
            lines.append(f"{split}: {len(lost)} annotations are left out. The first: {lost[0]}")
        if empty := sum(photo.image_id not in found.segments for photo in photos.values()):
            lines.append(f"{split}: {empty} pictures have no segment and are {self.unlabelled} everywhere")
        return lines

    def files_of(self, split: str, key: str) -> dict[str, Path]:
        """The photograph, and the PNG of a panoptic file."""
        found, photos = self._split(split)
        _, images, panoptic = self.places.of(self.root, split)
        photo = photos[key]
        files = {photo.file_name: images / photo.file_name}
        if found.panoptic:
            label = found.label_files[photo.image_id]
            files[f"labels/{label}"] = panoptic / label
        return files

    def identity(self, split: str) -> dict[str, Any]:
        """Options and the hash of the annotation file, which names and sizes the pictures."""
        self._split(split)
        return {
            "name": self.name,
            "split": split,
            "unlabelled": self.unlabelled,
            "places": asdict(self.places),
            "classes_sha256": hashlib.sha256(json.dumps(self.class_names).encode()).hexdigest(),
            "sha256": {"annotations": sha256_file(self.places.of(self.root, split)[0])},
        }

    def card(self) -> dict[str, Any]:
        names = self.class_names
        return {
            "title": self.title,
            "origin": f"Pictures and annotations in COCO's form. Classes ({len(names)}): {', '.join(names)}.",
            "licence": "not stated: whoever built this set knows",
            "terms": "those of the pictures and annotations it was made from",
            "url": "",
            "splits": {split: {} for split in self.splits},
        }

    def _label(self, split: str, photo: Photo) -> np.ndarray:
        found = self._split(split)[0]
        segments, class_of = found.segments.get(photo.image_id, ()), self._class_of(found)
        outside = self.class_names.index(self.unlabelled) if self.unlabelled != UNLABELLED else IGNORE
        if found.panoptic:
            path = self.places.of(self.root, split)[2] / found.label_files[photo.image_id]
            label = of_panoptic(path, segments, photo.size_px, class_of)
            return np.where(label == IGNORE, outside, label) if outside != IGNORE else label
        return drawn(segments, photo.size_px, class_of, outside, f"image {photo.image_id}")

    def _classes(self, classes: tuple[str, ...]) -> tuple[str, ...]:
        categories = self._split(self.splits[0])[0].categories
        named = [categories[number] for number in sorted(categories)]
        own = () if self.unlabelled == UNLABELLED else (self.unlabelled,)
        if not classes:
            # Categories of one name are one class: tools write a root above the others under the same name.
            return tuple(dict.fromkeys([*(name for name in own if name not in named), *named]))
        if strange := [name for name in classes if name not in (*named, *own)]:
            hint = did_you_mean(strange[0], named)
            raise ConfigError(
                f"source coco_segments: class {strange[0]!r} is no category.{hint} There are: {', '.join(named)}"
            )
        return (*(name for name in own if name not in classes), *classes)

    def _class_of(self, found: Annotations) -> dict[int, int]:
        places = {name: place for place, name in enumerate(self.class_names)}
        return {number: places[name] for number, name in found.categories.items() if name in places}

    def _split(self, split: str) -> tuple[Annotations, dict[str, Photo]]:
        """SourceError: no such split, or its files cannot be read."""
        if split not in self.splits:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._read:
                path = self.places.of(self.root, split)[0]
                found = read_annotations(path)
                if found.panoptic and not self.places.panoptic:
                    raise SourceError(f"{path}: is a panoptic file; set panoptic to the folder of its PNGs")
                photos = {f"{photo.image_id:012d}": photo for photo in found.photos if _is_used(photo, found)}
                if not photos:
                    raise SourceError(f"{path}: has no picture")
                self._read[split] = (found, dict(sorted(photos.items())))
            return self._read[split]


def _is_used(photo: Photo, found: Annotations) -> bool:
    """Pictures of a panoptic file that have no PNG cannot be told from unlabelled ones, and are left out."""
    return not found.panoptic or photo.image_id in found.label_files
