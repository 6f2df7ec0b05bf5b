"""Annotation files in COCO's form: found in a folder, and laid out as the source `coco_segments` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.files.readable import opened
from pipeline.layouts.folders import chosen, twins
from pipeline.layouts.guess import Guess, Option, Splits
from pipeline.sources.coco_segments.annotations import Annotations, read_annotations
from shards.errors import SourceError

_FILES = 40  # JSON files of a folder that are tried
_HEAD = 1 << 20


@dataclass(frozen=True)
class _Files:
    """The file of every split, as a path with `{split}` in it."""

    template: str
    paths: dict[str, Path]


def coco_file(labels: Path) -> Path | None:
    """The first file in COCO's form, of training if there are several; `labels` is one, or a folder. None: there is
    none."""
    if labels.is_file():
        return labels
    beside = labels.with_suffix(".json")  # of a folder of panoptic PNGs
    if beside.is_file() and _is_coco(beside):
        return beside
    found = [path for path in islice(sorted(labels.rglob("*.json")), _FILES) if _is_coco(path)]
    return min(found, key=lambda path: ("train" not in path.relative_to(labels).as_posix(), path), default=None)


def coco_guess(images: Path, path: Path) -> Guess:
    """SourceError: a file that is not what COCO's are, or whose pictures are not below `images`."""
    files = _files(path)
    splits = chosen(list(files.paths), "annotation files of these names")
    if not splits.val:
        why = "one annotation file is one split: nothing validates. Divide it into two files, train and val"
        splits = Splits(splits.names, splits.train, "", why)
    found = read_annotations(files.paths[splits.train])
    root = Path(os.path.commonpath([images, *(file.parent for file in files.paths.values())]))
    folder = _folder(images, found, files.paths[splits.train], splits.train)
    options = {
        "annotations": Option(Path(files.template).relative_to(root).as_posix(), "in COCO's form"),
        "images": Option(_below(folder, root, splits), "here are the files that the annotations name"),
    }
    if found.panoptic:
        png = _panoptic(files.paths[splits.train], found)
        options["panoptic"] = Option(_below(png, root, splits), "the PNGs with the numbers of segments")
    options["splits"] = Option(list(splits.names), splits.why)
    why = "panoptic files label what they know; the rest is void"
    if not found.panoptic:
        why = "nothing in the file says what lies in no segment: background if all objects are annotated, else ignore"
    options["unlabelled"] = Option("ignore" if found.panoptic else "background", why)
    own = 0 if found.panoptic or "background" in found.categories.values() else 1
    sizes = sorted((photo.size_px for photo in found.photos), key=lambda size: size[0] * size[1])
    return Guess(
        "coco_segments",
        root,
        options,
        splits,
        len(found.photos),
        sizes[len(sizes) // 2],
        (_said(found),),
        len(set(found.categories.values())) + own,
    )


def _said(found: Annotations) -> str:
    segments = sum(map(len, found.segments.values()))
    names = ", ".join(list(dict.fromkeys(found.categories.values()))[:8])
    return (
        f"{len(found.photos)} pictures, {segments} segments, {found.without_area} annotations without an area, "
        f"{len(found.categories)} categories: {names}{', ...' if len(found.categories) > 8 else ''}; classes=[...] "
        "chooses some of them"
    )


def _files(path: Path) -> _Files:
    if found := twins(path):
        return _Files(next(iter(found.values()))[1], {split: file for split, (file, _) in found.items()})
    return _Files(path.as_posix(), {"train": path})


def _folder(images: Path, found: Annotations, path: Path, split: str) -> Path:
    """Where the pictures of a file are. SourceError: the first is nowhere."""
    if not found.photos:
        raise SourceError(f"{path}: has no picture")
    name = found.photos[0].file_name
    for folder in (images, images / split, path.parent, images / Path(path.stem).name):
        if (folder / name).is_file():
            return folder
    raise SourceError(f"{path}: its first picture is {name!r}, which is not in {images} nor beside the file")


def _panoptic(path: Path, found: Annotations) -> Path:
    name = next(iter(found.label_files.values()))
    for folder in (path.with_suffix(""), path.parent, *_folders(path.parent)):
        if (folder / name).is_file():
            return folder
    raise SourceError(f"{path}: is a panoptic file, and its PNG {name!r} is in no folder of {path.parent}")


def _folders(parent: Path) -> Iterator[Path]:
    yield from (entry for entry in sorted(parent.iterdir()) if entry.is_dir())


def _below(folder: Path, root: Path, splits: Splits) -> str:
    """A folder below the root, with `{split}` where all splits have one."""
    text = Path(os.path.relpath(folder, root)).as_posix()
    found = twins(folder) if folder.is_absolute() else {}
    if set(splits.names) <= found.keys():
        return Path(os.path.relpath(found[splits.train][1], root)).as_posix()
    return text


def _is_coco(path: Path) -> bool:
    try:
        with opened(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    keys = (b'"images"', b'"annotations"', b'"categories"')
    return sum(key in head for key in keys) >= (3 if path.stat().st_size <= _HEAD else 1)
