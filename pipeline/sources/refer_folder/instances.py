"""Reads the `instances.json` of refs whose faults cost a ref and not the file: pictures and annotations by id.

Owns ids as text (repaired and counted) and annotation ids that come twice: the same entry twice is one, different
entries under one id are no annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.files.entries import number, parse_json, relative_name, taken
from shards.errors import SourceError
from shards.geometry.view import Size


@dataclass(frozen=True)
class Annotated:
    """One annotation; `problem` says why it cannot be used."""

    image_id: int
    segmentation: Any
    is_crowd: bool
    problem: str = ""


@dataclass(frozen=True)
class ListedPicture:
    file_name: str
    size_px: Size


@dataclass
class Instances:
    annotations: Mapping[int, Annotated]
    pictures: Mapping[int, ListedPicture]
    notices: list[str] = field(default_factory=list)


def read_instances(payload: bytes, path: Path, wanted: set[int]) -> Instances:
    """The annotations whose ids are `wanted`, and all pictures.

    Raises:
        SourceError: no COCO file, or a picture that is not described as it should be.
    """
    content = parse_json(payload, str(path))
    as_text, twice = 0, 0
    annotations: dict[int, Annotated] = {}
    raw: dict[int, Any] = {}
    for index, entry in enumerate(taken(content, "annotations", list, str(path))):
        where = f"{path}: annotation {index}"
        ann_id = number(taken(entry, "id", (int, str), where), f"{where}: 'id'")
        as_text += isinstance(entry["id"], str)
        entry = {**entry, "id": ann_id}
        if ann_id not in wanted:
            continue
        if ann_id in raw:
            twice += 1
            if entry != raw[ann_id]:
                annotations[ann_id] = Annotated(-1, None, False, "its id stands twice, with different contents")
            continue
        raw[ann_id] = entry
        annotations[ann_id] = _annotation(entry, where)
    pictures: dict[int, ListedPicture] = {}
    for index, entry in enumerate(taken(content, "images", list, str(path))):
        where = f"{path}: image {index}"
        image_id = number(taken(entry, "id", (int, str), where), f"{where}: 'id'")
        found = _picture(entry, where)
        if pictures.setdefault(image_id, found) != found:
            raise SourceError(f"{where}: id {image_id} occurs twice, for {pictures[image_id].file_name} too")
    notices = [f"{as_text} annotation ids are numbers as text; read as numbers"] if as_text else []
    notices += [f"{twice} annotations have an id that came before; equal ones count once"] if twice else []
    return Instances(annotations, pictures, notices)


def _annotation(entry: dict[str, Any], where: str) -> Annotated:
    try:
        image_id = number(taken(entry, "image_id", (int, str), where), f"{where}: 'image_id'")
        segmentation = taken(entry, "segmentation", (list, dict), where)
    except SourceError as error:
        return Annotated(-1, None, False, str(error))
    return Annotated(image_id, segmentation, bool(entry.get("iscrowd")))


def _picture(entry: dict[str, Any], where: str) -> ListedPicture:
    height, width = taken(entry, "height", int, where), taken(entry, "width", int, where)
    if height < 1 or width < 1:
        raise SourceError(f"{where}: is {height} x {width}; expected a positive size")
    return ListedPicture(relative_name(taken(entry, "file_name", str, where), f"{where}: 'file_name'"), (height, width))
