"""A folder in REFER's form under any name: refs of one target, several or none, annotations in COCO's form, pictures.

gRefCOCO, ReferIt/RefCLEF, remote-sensing sets that copied the form, and one's own. The sets that VPD was published on
are the source `refcoco`, whose names, counts and rules are fixed.

Layout       <root>/<refs>         a list of records, JSON or pickle (docs/methods/data_layouts.md#grefcoco)
             <root>/<instances>    COCO's images and annotations; masks are polygons, run lengths or lists of them
             <root>/<images>/      pictures, named by `images[].file_name`, which may hold sub-folders
Record       one picture of a split with its refs, in the order of the file; key = image id in 12 digits
Target       the union of a ref's annotations, crowds left out; empty for a ref that names none

Owns the layout and joining refs with annotations. A ref that cannot be used costs itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline.files.entries import read_bytes, taken
from pipeline.sources.refer_folder.instances import Annotated, Instances, read_instances
from pipeline.sources.refer_folder.refs import FolderRef, read_ref, records_of
from pipeline.sources.refs.content import Collected, Content, RefEntry
from pipeline.sources.refs.masks import MASK_RULES, BadSegmentation, Rle, area_px, encode_mask, union_of
from pipeline.sources.refs.pictures import RefPictures
from shards.errors import ConfigError, SourceError
from shards.geometry.view import Size


def build(
    root: str | Path,
    refs: str,
    instances: str = "instances.json",
    images: str = "images/train2014",
    mask_rule: str = "union",
    title: str = "",
) -> ReferFolderSource:
    """The source; nothing is read before the first call of a method.

    Args:
        root: folder that the others are relative to.
        refs: file of refs, such as grefs(unc).json or refs(unc).p.
        instances: file of annotations and pictures.
        images: folder of the pictures.
        mask_rule: pixels of several polygon parts of one annotation: `union` counts them, `exactly_one`, the published
            code's, does not. Several annotations of a ref are always joined.
        title: for the set's README.

    Raises:
        ConfigError: an unknown rule.
    """
    if mask_rule not in MASK_RULES:
        raise ConfigError(f"mask_rule is {mask_rule!r}; expected one of {', '.join(MASK_RULES)}")
    return ReferFolderSource(Path(root), refs, instances, images, mask_rule, title)


class ReferFolderSource(RefPictures):
    """A Source (see `pipeline.example`). Pickles as its options and reads the files again."""

    name = "refer_folder"

    def __init__(self, root: Path, refs: str, instances: str, images: str, mask_rule: str, title: str) -> None:
        super().__init__(root / images, title or Path(refs).stem)
        self.root, self.refs, self.instances, self.images, self.mask_rule = root, refs, instances, images, mask_rule

    def identity(self, split: str) -> dict[str, Any]:
        """The rule and the hashes of both files, which name and size the pictures; these are not hashed."""
        self.pictures(split)
        return {
            "name": self.name,
            "split": split,
            "refs": self.refs,
            "mask_rule": self.mask_rule,
            "sha256": dict(self.content.sha256),
        }

    def read(self) -> Content:
        refs_path, instances_path = self.root / self.refs, self.root / self.instances
        if not self.folder.is_dir():
            raise SourceError(f"{self.folder}: is not a folder; images= names that of the pictures, below {self.root}")
        refs_bytes, instances_bytes = read_bytes(refs_path), read_bytes(instances_path)
        records = records_of(refs_bytes, refs_path)
        split_of = [
            taken(record, "split", str, f"{refs_path}: ref {place} of {len(records)}")
            for place, record in enumerate(records)
        ]
        collected = {split: Collected() for split in dict.fromkeys(split_of)}
        found: list[tuple[Collected, str, FolderRef]] = []
        for place, (record, split) in enumerate(zip(records, split_of, strict=True)):
            try:
                found.append((collected[split], f"ref {place}", read_ref(record, f"ref {place}")))
            except SourceError as error:
                image_id = record.get("image_id")
                collected[split].fault(f"{image_id:012d}" if type(image_id) is int else "", str(error))
        wanted = {ann_id for _, _, ref in found for ann_id in ref.ann_ids}
        instances = read_instances(instances_bytes, instances_path, wanted)
        for pile, name, ref in found:
            self._join(pile, f"{name} (id {ref.ref_id})", ref, instances)
        pictures = {split: _listed(pile, instances, self.instances) for split, pile in collected.items()}
        notices = {split: [*pile.notices(), *instances.notices] for split, pile in collected.items()}
        files = {refs_path.name: refs_bytes, instances_path.name: instances_bytes}
        hashes = {name: hashlib.sha256(payload).hexdigest() for name, payload in files.items()}
        return Content(pictures, notices, hashes)

    def mask_of(self, entry: RefEntry, size_px: Size) -> Rle:
        parts = [encode_mask(segmentation, *size_px, self.mask_rule) for segmentation in entry.target]
        mask = union_of(parts, *size_px)
        if parts and area_px(mask) == 0:
            raise BadSegmentation(f"its annotations {list(entry.meta['ann_id'])} give an empty mask")
        return mask

    def _join(self, pile: Collected, name: str, ref: FolderRef, instances: Instances) -> None:
        """Add a ref to its picture, or its fault."""
        key = f"{ref.image_id:012d}"
        for fault in ref.faults:
            pile.fault(key, fault)
        try:
            annotations = [self._annotation(ann_id, ref.image_id, instances) for ann_id in ref.ann_ids]
            segmentations = tuple(found.segmentation for found in annotations if not found.is_crowd)
            if annotations and not segmentations:
                raise SourceError(f"all its annotations {list(ref.ann_ids)} are crowds")
        except SourceError as error:
            pile.fault(key, f"{name}: {error}")
            return
        if len(segmentations) < len(annotations):
            pile.note("refs name a crowd annotation, which is left out of their masks", name)
        if not annotations:
            pile.note("refs have no target; their masks are empty", name)
        pile.note_id(ref.ref_id, name)
        meta = {"ref_id": ref.ref_id, "ann_id": list(ref.ann_ids), "sent_ids": list(ref.sent_ids)}
        pile.picture(key).refs.append(RefEntry(name, ref.sentences, segmentations, meta))

    def _annotation(self, ann_id: int, image_id: int, instances: Instances) -> Annotated:
        annotation = instances.annotations.get(ann_id)
        if annotation is None:
            raise SourceError(f"annotation {ann_id} is not in {self.instances}")
        if annotation.problem:
            raise SourceError(f"annotation {ann_id} cannot be used: {annotation.problem}")
        if annotation.image_id != image_id:
            raise SourceError(f"annotation {ann_id} lies in image {annotation.image_id}, the ref in image {image_id}")
        return annotation


def _listed(pile: Collected, instances: Instances, file: str) -> dict[str, Any]:
    """The collected pictures with their names and sizes; one that is not listed loses its refs."""
    pictures = pile.pictures()
    for key, picture in pictures.items():
        if not picture.file_name:
            continue
        listed = instances.pictures.get(int(key))
        if listed is None:
            picture.faults += [f"{ref.name}: image {int(key)} is not in {file}" for ref in picture.refs]
            picture.refs.clear()
            continue
        picture.file_name, picture.size_px = listed.file_name, listed.size_px
        picture.meta["image_id"] = int(key)
    return pictures
