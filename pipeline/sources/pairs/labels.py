"""A folder of pictures and a folder of labels, paired by name: the shape of ADE20K and of most segmentation data.

Owns pairing, keys, rejects and the identity of such a dataset; `ade20k`, `cityscapes` and `image_folders` say where the
folders are, what the classes are called and how values map. A picture without a label, or a label without a picture, is
a reject, never left out in silence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from pipeline.example import Example
from pipeline.files.label_png import IGNORE, encode_label, read_label
from pipeline.files.photos import Partner, read_picture
from shards.contract.schema import Field
from shards.errors import Reject, SourceError

LABEL = "label"


@dataclass(frozen=True)
class Folders:
    """Where one split lies. Names are `<stem><suffix>`; stems may hold sub-folders, alike on both sides."""

    images: Path
    labels: Path
    image_suffixes: tuple[str, ...] = (".jpg",)
    label_suffix: str = ".png"


@dataclass(frozen=True)
class Pair:
    """One picture and its label; one of the two may be missing."""

    stem: str
    image: Path | None
    label: Path | None


@dataclass(frozen=True)
class Listing:
    """The pairs of a split by record key, in order of their stems, and a hash of all names and sizes."""

    pairs: Mapping[str, Pair]
    sha256: str


class LabelPairs:
    """Everything of a Source (see `pipeline.example`) that follows from the folders and the classes. Thread-safe.

    Args:
        classes: names in the order of the stored label values.
        class_of: the class of every value of a label file, see `label_png.read_label`.
    """

    item_axis = "view"

    def __init__(self, folders: Mapping[str, Folders], classes: tuple[str, ...], class_of: tuple[int, ...]) -> None:
        self.folders, self.class_names, self.class_of = dict(folders), classes, class_of
        self.splits = tuple(self.folders)
        unit = f"class index 0 to {len(classes) - 1} at the picture's own size, {IGNORE} = ignore"
        self.label_fields = (Field(LABEL, "png", unit=unit),)
        self._lock = Lock()
        self._listings: dict[str, Listing] = {}

    def keys(self, split: str) -> list[str]:
        """Names of the files without suffix, ascending; characters a shard cannot hold are percent-encoded."""
        return list(self.listing(split).pairs)

    def counts(self, split: str) -> dict[str, int]:
        """Pictures of the split, with or without a label."""
        return {"images": len(self.listing(split).pairs)}

    def files(self, split: str) -> dict[str, Any]:
        """What identifies the split's files: a hash of names and sizes. Their contents are not read for it: 20,000
        small files take minutes on a network disk."""
        return {"pairs": len(self.listing(split).pairs), "names_and_sizes_sha256": self.listing(split).sha256}

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or label is missing or damaged, their sizes differ, or the label is not one."""
        pair = self.listing(split).pairs.get(key)
        if pair is None:
            raise SourceError(f"{self.folders[split].images}: split {split} has no picture {key!r}")
        if pair.image is None:
            wanted = " or ".join(pair.stem + suffix for suffix in self.folders[split].image_suffixes)
            raise Reject(f"label {pair.label} has no picture: {wanted} is not in {self.folders[split].images}")
        if pair.label is None:
            wanted = self.folders[split].labels / (pair.stem + self.folders[split].label_suffix)
            raise Reject(f"picture {pair.image} has no label: {wanted} does not exist")
        label = read_label(pair.label, self.class_of)  # uint8 [H, W]
        size_px = (label.shape[0], label.shape[1])
        image = read_picture(pair.image, partner=Partner(f"its label {pair.label} is", size_px))  # uint8 [H, W, 3]
        meta = {
            "file_name": pair.image.relative_to(self.folders[split].images).as_posix(),
            "height": image.shape[0],
            "width": image.shape[1],
            "ignore": IGNORE,
            "classes": len(self.class_names),
        }
        return Example(key, image, meta, labels={LABEL: encode_label(label)})

    def listing(self, split: str) -> Listing:
        """The pairs of a split, listed once. SourceError: unknown split, missing folder, or not one pair."""
        if split not in self.folders:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listings:
                self._listings[split] = _list_pairs(self.folders[split], split)
            return self._listings[split]


def key_of(stem: str) -> str:
    """Record key of a file stem: visible ASCII without dot and slash, one for one."""
    key = quote(stem, safe="").replace(".", "%2E")
    return "%5F" + key[1:] if key.startswith("_") else key


def _list_pairs(folders: Folders, split: str) -> Listing:
    images = _files(folders.images, folders.image_suffixes, split)
    labels = _files(folders.labels, (folders.label_suffix,), split)
    if not images.keys() & labels.keys():
        raise SourceError(
            f"split {split}: no picture has a label. Found {_some(images)} in {folders.images} and {_some(labels)} in "
            f"{folders.labels}; expected <name>{' or '.join(folders.image_suffixes)} beside "
            f"<name>{folders.label_suffix} of the same name"
        )
    digest = hashlib.sha256()
    pairs: dict[str, Pair] = {}
    for stem in sorted(images.keys() | labels.keys()):
        image, label = images.get(stem), labels.get(stem)
        pairs[key_of(stem)] = Pair(stem, image and image[0], label and label[0])
        digest.update(f"{stem}\t{image and image[1]}\t{label and label[1]}\n".encode())
    return Listing(pairs, digest.hexdigest())


def _files(folder: Path, suffixes: tuple[str, ...], split: str) -> dict[str, tuple[Path, int]]:
    """(path, bytes) of every file below a folder that has one of the suffixes, by its relative path without it."""
    if not folder.is_dir():
        beside = sorted(p.name for p in folder.parent.iterdir())[:8] if folder.parent.is_dir() else []
        raise SourceError(
            f"split {split}: {folder} is not a folder; {folder.parent} "
            + (f"holds {', '.join(beside) or 'nothing'}" if folder.parent.is_dir() else "does not exist either")
        )
    found: dict[str, tuple[Path, int]] = {}
    for at, _, names in os.walk(folder, followlinks=True):
        for name in names:
            suffix = next((s for s in suffixes if name.lower().endswith(s.lower())), None)
            if suffix is None or name.startswith("."):
                continue
            path = Path(at, name)
            stem = path.relative_to(folder).as_posix()[: -len(suffix)]
            if stem in found:
                raise SourceError(f"split {split}: {path} and {found[stem][0]} have the same name; remove one")
            found[stem] = (path, path.stat().st_size)
    return found


def _some(found: Mapping[str, tuple[Path, int]], limit: int = 3) -> str:
    names = [path.name for path, _ in list(found.values())[:limit]]
    return f"{len(found)} files" + (f" ({', '.join(names)}{', ...' if len(found) > limit else ''})" if names else "")
