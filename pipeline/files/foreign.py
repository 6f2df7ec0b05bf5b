"""Layouts of tools that no source here reads: recognised by what their files hold, each with what to do instead.

Owns recognising and the advice. Nothing is read for training from here. Whoever finds that a folder or file is not what
it was declared to be asks `hint`, and `init` asks before it looks at anything else.

What tools write: CVAT, Label Studio, Supervisely, VIA, YOLO, Segment Anything, NIfTI, Pascal VOC's boxes, one mask for
every object, and the forms of referring data that hold boxes or videos.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pipeline.files.readable import contents, opened

FILES = 400  # of a folder that are looked at
_JSON_BYTES = 64 << 20  # larger files are annotation files of whole datasets, which sources read themselves
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_MASK_OF_OBJECT = re.compile(
    r"(?P<picture>.+?)_(?!parts_)(?P<name>[A-Za-z][A-Za-z -]*)_(?P<number>\d+)$"
)  # ADE20K's parts are none
_OF_LABEL_STUDIO = re.compile(r"task-\d+-annotation-\d+-")


@dataclass(frozen=True)
class Foreign:
    """A layout that is not read, and what to do with it."""

    name: str
    advice: str


CVAT = Foreign(
    "CVAT's XML",
    "export the task again as COCO 1.0 (source coco_segments) or as Segmentation mask 1.1 (source "
    "image_folders with coding: colour and its labelmap.txt)",
)
VOC_BOXES = Foreign(
    "Pascal VOC's XML of boxes",
    "boxes are no labels of pixels; take the PNGs of SegmentationClass",
)
NIFTI = Foreign(
    "NIfTI",
    "save every slice as a picture and its label as an 8-bit PNG, with the first axis as x (transposed), "
    "and read them with the source image_folders",
)
LABEL_STUDIO = Foreign(
    "Label Studio's JSON",
    "export as COCO for polygons (source coco_segments), or brush labels to PNG and join the files of one "
    "picture into one label a picture (source image_folders)",
)
LABEL_STUDIO_PNG = Foreign(
    "Label Studio's PNG export",
    "it has a file for every label, whose name does not say the picture: join those of a task, by the "
    "names in its JSON, into one label a picture (source image_folders)",
)
SUPERVISELY = Foreign(
    "Supervisely's JSON",
    "export as COCO (source coco_segments) or as semantic masks, in which k, k, k is the k-th class "
    "(source image_folders)",
)
VIA = Foreign(
    "VIA's JSON",
    "export it as COCO format (source coco_segments)",
)
SEGMENT_ANYTHING = Foreign(
    "Segment Anything's JSON",
    "its masks have no class: give every annotation a category_id and join the files as one COCO file "
    "(source coco_segments, unlabelled: ignore), or a sentence each as JSONL (source refer_file, key rle)",
)
CITYSCAPES = Foreign(
    "Cityscapes' polygons",
    "take the PNGs that end in _labelTrainIds.png (source cityscapes)",
)
YOLO = Foreign(
    "YOLO's text files",
    "convert the polygons to COCO (source coco_segments); boxes alone are no labels of pixels",
)
PER_OBJECT = Foreign(
    "one mask a file for every object",
    "join the masks of a picture into one label with a value for every class, or write them as one COCO "
    "file (source coco_segments)",
)
ODVG = Foreign(
    "grounding boxes in ODVG's form",
    "write one line a phrase, with the picture, the phrase and its box (source refer_file, box_form: "
    "xyxy); a model then learns filled boxes",
)
REASON_SEG = Foreign(
    "ReasonSeg's JSON, one a picture",
    "write one line a sentence, with the picture and the polygons that are labelled target (source refer_file)",
)
REGIONS = Foreign(
    "Visual Genome's region descriptions",
    "they have boxes and no masks: write one line a phrase, with bbox (source refer_file, box_form: "
    "xywh); a model then learns filled boxes",
)
PHRASE_CUT = Foreign(
    "PhraseCut's JSON",
    "its pictures have numbers for names: add the key image with the file's name (source refer_file reads "
    "phrase and Polygons)",
)
VIDEOS = Foreign(
    "expressions of videos",
    "write one line a frame and expression, with the frame's picture and its mask (source refer_file)",
)


def of_json(data: Any) -> Foreign | None:
    """What a JSON value is of, by its keys; None for what is read here, or is not known."""
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return None
    if any(isinstance(entry, dict) and "result" in entry for entry in _listed(first, "annotations", "completions")):
        return LABEL_STUDIO
    if "result" in first and "data" in first:
        return LABEL_STUDIO
    if any("classTitle" in entry for entry in _listed(first, "objects")) or (
        any("shape" in entry and "title" in entry for entry in _listed(first, "classes"))
    ):
        return SUPERVISELY
    if "imgHeight" in first and "objects" in first:
        return CITYSCAPES
    if "_via_img_metadata" in first or any(
        isinstance(entry, dict) and {"regions", "filename"} <= entry.keys() for entry in islice(first.values(), 8)
    ):
        return VIA
    if isinstance(first.get("image"), dict) and "annotations" in first and "categories" not in first:
        return SEGMENT_ANYTHING
    if isinstance(first.get("grounding"), dict) or isinstance(first.get("detection"), dict):
        return ODVG
    if {"text", "is_sentence", "shapes"} <= first.keys():
        return REASON_SEG
    if any("phrase" in entry and "width" in entry for entry in _listed(first, "regions")):
        return REGIONS
    if "phrase" in first and "Polygons" in first and "image" not in first:
        return PHRASE_CUT
    return VIDEOS if isinstance(first.get("videos"), dict) else None


def of_file(path: Path) -> Foreign | None:
    """What a file is of; None for what is read here, is not known, or cannot be read."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return NIFTI
    if _OF_LABEL_STUDIO.match(name):
        return LABEL_STUDIO_PNG
    try:
        if name.endswith(".xml"):
            with opened(path) as file:
                return _of_xml(file.read(1 << 16))
        if name.endswith(".txt") and path.stat().st_size < 1 << 20:
            return YOLO if _is_yolo(path.read_text(encoding="utf-8", errors="replace")) else None
        if name.endswith(".json") and path.stat().st_size < _JSON_BYTES:
            return of_json(orjson.loads(contents(path)))
    except (OSError, orjson.JSONDecodeError):
        return None
    return None


def foreign_below(*folders: Path) -> tuple[Foreign, Path] | None:
    """The first foreign file in some folders, or None. Folders that are not there hold nothing."""
    found = [path for folder in dict.fromkeys(folders) for path in islice(_files(folder), FILES)]
    for path in found:
        if foreign := of_file(path):
            return foreign, path
    masks = _masks_of_objects(found)
    return (PER_OBJECT, masks[0]) if masks else None


def hint(*folders: Path) -> str:
    """' FILE is of NAME, which is not read: ADVICE.', to end a message with; nothing where nothing is recognised."""
    found = foreign_below(*folders)
    return f". {said(*found)}" if found else ""


def said(foreign: Foreign, where: Path | str) -> str:
    """In words."""
    return f"{where} is {foreign.name}, which is not read here: {foreign.advice}"


def _listed(data: dict[str, Any], *keys: str) -> Iterator[dict[str, Any]]:
    """Some entries of the first of the keys that holds a list."""
    found = next((data[key] for key in keys if isinstance(data.get(key), list)), [])
    yield from (entry for entry in found[:8] if isinstance(entry, dict))


def _of_xml(start: bytes) -> Foreign | None:
    if re.search(rb"<annotations\b", start) and re.search(rb"<(image|track|meta)\b", start):
        return CVAT
    return VOC_BOXES if re.search(rb"<annotation\b", start) and b"<bndbox" in start else None


def _is_yolo(text: str) -> bool:
    """Whether all lines are a class and coordinates between 0 and 1."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    try:
        return bool(rows) and all(
            row[0].isdecimal() and len(row) >= 5 and all(0 <= float(word) <= 1 for word in row[1:]) for row in rows
        )
    except ValueError:
        return False


def _masks_of_objects(paths: Sequence[Path]) -> list[Path]:
    """The PNGs called <picture>_<class>_<number> of pictures that have several."""
    pictures = {path.stem for path in paths if path.suffix.lower() in _PICTURES}
    named = [(path, match["picture"]) for path in paths if (match := _MASK_OF_OBJECT.match(path.stem))]
    counted = Counter(picture for path, picture in named if picture in pictures and path.suffix.lower() == ".png")
    return [path for path, picture in named if counted[picture] > 1]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names) if not name.startswith("."))
