"""Reads COCO annotation files: instances and stuff (`segmentation`), or panoptic (`segments_info`).

Owns the form and its checks: ids that are whole numbers and stand once, every reference leading somewhere. An
annotation that contradicts the others costs itself and is told; a picture or category that does ends the build, since
nothing can be meant by the file then. What is drawn is `draw`'s. Files of Roboflow, CVAT, Label Studio and Datumaro
have the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files.entries import parse_json, read_bytes, taken
from pipeline.files.foreign import of_json, said
from shards.errors import SourceError
from shards.geometry.view import Size

_CATEGORY = (("id", int), ("name", str))
_PHOTO = (("id", int), ("file_name", str), ("height", int), ("width", int))


@dataclass(frozen=True)
class Photo:
    """One picture of the file."""

    image_id: int
    file_name: str
    size_px: Size


@dataclass(frozen=True)
class Segment:
    """What is drawn: an annotation's segmentation, or of panoptic files the id in the PNG."""

    number: int  # the annotation's id, or the segment's
    category_id: int
    segmentation: Any  # polygons or RLE, checked where it is drawn; None in panoptic files


@dataclass(frozen=True)
class Annotations:
    """A file, read."""

    photos: tuple[Photo, ...]
    categories: Mapping[int, str]
    segments: Mapping[int, tuple[Segment, ...]]  # by image id
    label_files: Mapping[int, str]  # by image id: PNG of a panoptic file
    without_area: int  # annotations whose segmentation is empty or missing
    left_out: Mapping[int, tuple[str, ...]]  # by image id: annotations that contradict others, and why
    strays: tuple[str, ...]  # the same of annotations of pictures that the file does not have

    @property
    def panoptic(self) -> bool:
        return bool(self.label_files)


def read_annotations(path: Path) -> Annotations:
    """SourceError: no such file, not COCO's, or a picture or category that contradicts the others; the message names
    it."""
    data = parse_json(read_bytes(path), str(path))
    lists = ("images", "annotations", "categories")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in lists):
        if foreign := of_json(data):
            raise SourceError(said(foreign, path))
        found = ", ".join(map(str, data))[:80] if isinstance(data, dict) else type(data).__name__
        raise SourceError(f"{path}: found {found or 'nothing'}; expected the lists {', '.join(lists)}")
    listed_photos = [_photo(entry, f"{path}: image {place}") for place, entry in enumerate(data["images"])]
    photos = {photo.image_id: photo for photo in _unique(listed_photos, "image_id", "image", path)}
    categories: dict[int, str] = {}
    for place, entry in enumerate(data["categories"]):
        number, name = (taken(entry, key, kind, f"{path}: category {place}") for key, kind in _CATEGORY)
        if number in categories:
            raise SourceError(f"{path}: category {number} stands twice")
        if not name.strip():
            raise SourceError(f"{path}: category {number} has an empty name")
        categories[number] = name.strip()
    segments: dict[int, list[Segment]] = {}
    labels: dict[int, str] = {}
    without_area = 0
    numbers: set[int] = set()
    left_out: dict[int, list[str]] = {}
    strays: list[str] = []
    for place, entry in enumerate(data["annotations"]):
        image_id = taken(entry, "image_id", int, f"{path}: annotation {place}")
        if image_id not in photos:
            strays.append(f"annotation {entry.get('id', place)} is of image {image_id}, which is not in its images")
            continue
        if "segments_info" in entry:
            infos, file_name = entry["segments_info"], entry.get("file_name")
            if image_id in labels or not isinstance(file_name, str) or not isinstance(infos, list):
                raise SourceError(f"{path}: image {image_id} has no one file_name and segments_info of a panoptic PNG")
            labels[image_id] = file_name
            found = [_segment(info, "segment", path) for info in infos]
            listed_numbers: set[int] = set()
            kept = [one for one in found if not _told(one, "segment", listed_numbers, categories, left_out, image_id)]
            segments[image_id] = kept
            continue
        segment = _segment(entry, "annotation", path)
        if _told(segment, "annotation", numbers, categories, left_out, image_id):
            continue
        if segment.segmentation in (None, [], {}):
            without_area += 1
        else:
            segments.setdefault(image_id, []).append(segment)
    listed = {image_id: tuple(found) for image_id, found in segments.items()}
    told = {image_id: tuple(reasons) for image_id, reasons in left_out.items()}
    return Annotations(tuple(photos.values()), categories, listed, labels, without_area, told, tuple(strays))


def _photo(entry: Any, where: str) -> Photo:
    number, name, height, width = (taken(entry, key, kind, where) for key, kind in _PHOTO)
    if not name or ".." in Path(name).parts:
        raise SourceError(f"{where}: file_name is {name!r}; expected a file below the pictures' folder")
    if min(height, width) < 1:
        raise SourceError(f"{where}: image {number} is {height} x {width}; expected its size in pixels")
    return Photo(number, name, (height, width))


def _told(
    segment: Segment,
    what: str,
    numbers: set[int],
    categories: Mapping[int, str],
    left_out: dict[int, list[str]],
    image_id: int,
) -> bool:
    """Whether a segment contradicts those before it, of the `numbers`, or the categories; the reason is kept."""
    reason = ""
    if segment.category_id not in categories:
        reason = f"is of category {segment.category_id}, which is not in its categories"
    elif segment.number in numbers:
        reason = "stands twice; the first one is kept"
    numbers.add(segment.number)
    if reason:
        left_out.setdefault(image_id, []).append(f"{what} {segment.number} {reason}")
    return bool(reason)


def _segment(entry: Any, what: str, path: Path) -> Segment:
    number, category_id = (taken(entry, key, int, f"{path}: {what}") for key in ("id", "category_id"))
    return Segment(number, category_id, entry.get("segmentation"))


def _unique(entries: list[Any], key: str, what: str, path: Path) -> list[Any]:
    seen: set[int] = set()
    for entry in entries:
        number = getattr(entry, key)
        if number in seen:
            raise SourceError(f"{path}: {what} {number} stands twice; ids must be unique")
        seen.add(number)
    return entries
