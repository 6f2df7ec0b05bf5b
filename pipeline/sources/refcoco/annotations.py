"""Reads the annotation files of the RefCOCO family: `refs(<split_by>).p` and `instances.json`.

Owns checking every record, and joining refs with annotations and images. Leaves unpickling to `files.plain_pickle`,
images, splits and rejects to `refcoco`, mask arithmetic to `coco_masks`. Keys that nobody needs (`file_name`, `raw`,
`tokens`, `sent_ids` of a ref; `bbox`, `area`, `iscrowd`) are not read: the ref's file_name is not the name of a file,
and each sentence carries its own id.

Format: docs/methods/data_layouts.md#refs-file; layout and meaning follow lichengunc/refer.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pipeline.files.entries import parse_json, read_bytes, taken, without_collection
from pipeline.files.plain_pickle import unpickle_plain
from pipeline.sources.refs.masks import Rle, encode_mask
from shards.errors import SourceError


class Sentence(NamedTuple):
    sent_id: int
    sent: str


class Ref(NamedTuple):
    """One referred object: which annotation, and what people called it."""

    ref_id: int
    ann_id: int
    image_id: int
    category_id: int
    split: str
    sentences: tuple[Sentence, ...]


class Annotation(NamedTuple):
    ann_id: int
    image_id: int
    category_id: int
    packed: bytes  # JSON of its segmentation: a fifth of the memory of its numbers, and quick to send to a worker

    @property
    def segmentation(self) -> Any:
        """List of polygons, or {"size", "counts"}; checked where it is drawn."""
        return parse_json(self.packed, f"annotation {self.ann_id}")


class ImageEntry(NamedTuple):
    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Refer:
    """Everything the refs of one (dataset, split_by) point to. `sha256` maps file names to the hash of their bytes."""

    refs: tuple[Ref, ...]
    annotations: Mapping[int, Annotation]
    images: Mapping[int, ImageEntry]
    categories: Mapping[int, str]
    sha256: Mapping[str, str]

    def __getstate__(self) -> dict[str, Any]:
        """Columns of plain values in place of a quarter of a million tuples, packed already: both ends are quicker."""
        with without_collection():
            refs = ((*ref[:-1], len(ref.sentences)) for ref in self.refs)
            said = (sentence for ref in self.refs for sentence in ref.sentences)
            tables = (refs, said, self.annotations.values(), self.images.values())
            packed = pickle.dumps([list(zip(*rows, strict=True)) for rows in tables], pickle.HIGHEST_PROTOCOL)
        return {"packed": packed, "categories": self.categories, "sha256": self.sha256}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with without_collection():
            refs, said, annotations, images = (zip(*rows, strict=True) for rows in pickle.loads(state.pop("packed")))
            sentences = map(Sentence._make, said)
            vars(self).update(
                state,
                refs=tuple(Ref._make((*fields, tuple(islice(sentences, number)))) for *fields, number in refs),
                annotations={one.ann_id: one for one in map(Annotation._make, annotations)},
                images={one.image_id: one for one in map(ImageEntry._make, images)},
            )

    @property
    def splits(self) -> list[str]:
        return sorted({ref.split for ref in self.refs})

    def refs_of(self, split: str) -> list[Ref]:
        """Refs of one split in file order."""
        return [ref for ref in self.refs if ref.split == split]

    def mask(self, ref: Ref, rule: str = "union") -> Rle:
        """KeyError where the ref's annotation or image is absent, BadSegmentation where it cannot be drawn."""
        entry = self.images[ref.image_id]
        return encode_mask(self.annotations[ref.ann_id].segmentation, entry.height, entry.width, rule)


def load_refer(refs_path: Path, instances_path: Path) -> Refer:
    """Reads both files. Only the annotations and images that some ref names are kept. Raises SourceError."""
    refs_bytes, instances_bytes = read_bytes(refs_path), read_bytes(instances_path)
    with without_collection():
        refs = parse_refs(refs_bytes, refs_path)
        annotations, images, categories = parse_instances(instances_bytes, instances_path, refs)
    sha256 = {
        refs_path.name: hashlib.sha256(refs_bytes).hexdigest(),
        instances_path.name: hashlib.sha256(instances_bytes).hexdigest(),
    }
    return Refer(refs, annotations, images, categories, sha256)


def parse_refs(payload: bytes, path: Path) -> tuple[Ref, ...]:
    """The records of a refs pickle, in file order. Raises SourceError naming the record's index and the file."""
    records = unpickle_plain(payload, path)
    if not isinstance(records, list) or not records:
        found = "an empty list" if records == [] else type(records).__name__
        raise SourceError(f"{path}: holds {found}; expected a list of refs. Download it again from lichengunc/refer.")
    refs: list[Ref] = []
    first_seen: dict[int, int] = {}
    for index, record in enumerate(records):
        where = f"{path}: ref {index} of {len(records)}"
        sentences = []
        for number, entry in enumerate(taken(record, "sentences", list, where)):
            at = f"{where}, sentence {number}"
            sentences.append(Sentence(taken(entry, "sent_id", int, at), taken(entry, "sent", str, at)))
        ref = Ref(
            ref_id=taken(record, "ref_id", int, where),
            ann_id=taken(record, "ann_id", int, where),
            image_id=taken(record, "image_id", int, where),
            category_id=taken(record, "category_id", int, where),
            split=taken(record, "split", str, where),
            sentences=tuple(sentences),
        )
        if ref.image_id < 0:
            raise SourceError(f"{where}: image_id is {ref.image_id}; expected 0 or more")
        if first_seen.setdefault(ref.ref_id, index) != index:
            raise SourceError(f"{where}: ref_id {ref.ref_id} was already used by ref {first_seen[ref.ref_id]}")
        refs.append(ref)
    return tuple(refs)


def parse_instances(
    payload: bytes, path: Path, refs: tuple[Ref, ...]
) -> tuple[dict[int, Annotation], dict[int, ImageEntry], dict[int, str]]:
    """Annotations and images that `refs` name, and all category names, each by id. Raises SourceError."""
    content = parse_json(payload, str(path))
    wanted_annotations = {ref.ann_id for ref in refs}
    wanted_images = {ref.image_id for ref in refs}
    annotations: dict[int, Annotation] = {}
    for index, entry in enumerate(taken(content, "annotations", list, str(path))):
        if type(entry) is dict and type(known := entry.get("id")) is int and known not in wanted_annotations:
            continue  # three quarters of them
        where = f"{path}: annotation {index}"
        if (ann_id := taken(entry, "id", int, where)) not in wanted_annotations:
            continue
        if ann_id in annotations:
            raise SourceError(f"{where}: id {ann_id} occurs twice")
        annotations[ann_id] = Annotation(
            ann_id=ann_id,
            image_id=taken(entry, "image_id", int, where),
            category_id=taken(entry, "category_id", int, where),
            packed=_packed(taken(entry, "segmentation", (list, dict), where)),
        )
    images: dict[int, ImageEntry] = {}
    for index, entry in enumerate(taken(content, "images", list, str(path))):
        where = f"{path}: image {index}"
        if (image_id := taken(entry, "id", int, where)) not in wanted_images:
            continue
        if image_id in images:
            raise SourceError(f"{where}: id {image_id} occurs twice")
        file_name = taken(entry, "file_name", str, where)
        height, width = taken(entry, "height", int, where), taken(entry, "width", int, where)
        if Path(file_name).name != file_name or "\\" in file_name or height < 1 or width < 1:
            raise SourceError(
                f"{where}: file_name {file_name!r}, {height} x {width}; expected a plain file name and a positive size"
            )
        images[image_id] = ImageEntry(image_id, file_name, height, width)
    categories: dict[int, str] = {}
    for index, entry in enumerate(taken(content, "categories", list, str(path))):
        where = f"{path}: category {index}"
        categories[taken(entry, "id", int, where)] = taken(entry, "name", str, where)
    return annotations, images, categories


def _packed(segmentation: Any) -> bytes:
    try:
        return orjson.dumps(segmentation)
    except orjson.JSONEncodeError:  # what only the standard library reads, such as a number of more than 64 bits
        return json.dumps(segmentation).encode()
