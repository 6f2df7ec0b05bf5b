"""A user's own segmentation data: a picture folder, a label folder and a list of classes, by configuration alone.

Layout       <root>/<images>/<prefix><stem><suffix>  and  <root>/<labels>/<prefix><stem><suffix>
             `{split}` in either folder is replaced by the split's name; stems may hold sub-folders
Splits       a folder each, a list each (`lists`), or seeded parts (`shares`)
Labels       pictures whose values are classes, or whose colours are (`coding`), or LabelMe's JSON files
Classes      a list in the configuration, or a file in a form of `pipeline.files.class_list`

Owns the options. Leaves pairs, labels and rejects to `pairs`, codings to `pipeline.files.label_coding`. Layouts of
tools and the lines to declare for each: docs/own_data.md.

    source: {name: image_folders, root: data/cracks, classes: [sound, crack], splits: [train, val]}
    source:                                    # masks of 0 and 255, one folder for all pictures
      {name: image_folders, root: data/cracks, images: images, labels: masks, shares: {train: 0.9, val: 0.1},
       classes: [sound, crack], values: {0: sound, 255: crack}}
    source:                                    # Cityscapes with its 19 training classes
      {name: image_folders, root: data/cityscapes, classes: data/cityscapes/classes.txt, splits: [train, val],
       images: "leftImg8bit/{split}", labels: "gtFine/{split}",
       image_suffix: _leftImg8bit.png, label_suffix: _gtFine_labelTrainIds.png}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.files.photos import Orientation
from pipeline.sources.pairs.codings import Declared, declared
from pipeline.sources.pairs.labels import LabelPairs
from pipeline.sources.pairs.matching import Folders
from pipeline.sources.pairs.paired import IMAGE_SUFFIXES, folders_of
from shards.errors import ConfigError

INSTANCES = {  # what files of objects are called, and where their classes are
    "segmentationobject": "SegmentationClass",
    "instanceids": "files ending in _labelIds.png or _labelTrainIds.png",
}


def build(
    root: str | Path,
    classes: str | Sequence[str],
    splits: Sequence[str] = (),
    images: str = "images/{split}",
    labels: str = "labels/{split}",
    image_suffix: str | Sequence[str] = IMAGE_SUFFIXES,
    label_suffix: str = "",
    zero_is_ignored: bool = False,
    title: str = "",
    image_prefix: str = "",
    label_prefix: str = "",
    lists: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    coding: str = "index",
    values: Mapping[str, str] | None = None,
    ignore_values: Sequence[int] | None = None,
    colours: Mapping[str, Sequence[int]] | None = None,
    ignored_classes: Sequence[str] = (),
    orientation: Orientation = "upright",
) -> ImageFoldersSource:
    """The source.

    Args:
        root: folder the others are relative to.
        classes: names in the order of the label values, or a file of them, below `root` or elsewhere.
        splits: names of the splits, each with folders of its own; train and val where nothing else is said.
        images, labels: folders below `root`; `{split}` stands for the split.
        image_suffix, label_suffix: what follows the common part of the names; labels end in .png, LabelMe's in .json.
        zero_is_ignored: label 0 is no class and label k is the k-th name (ADE20K's rule, `reduce_zero_label`
            elsewhere); else label 0 is the first name.
        title: for the set's README.
        image_prefix, label_prefix: what comes before the common part of the names.
        lists: split to a text file with a line a picture: its name, or the paths of picture and label.
        shares: split to its part of all pictures, drawn by `seed`.
        seed: of `shares`.
        coding: `index`, `colour`, `red`, `ade20k_full` (see `pipeline.files.label_coding`), or `labelme`.
        values: label value to class name, where values do not count up from 0; `{0: sound, 255: crack}`.
        ignore_values: label values that are no class; 255 where nothing is said and `values` does not name it.
        colours: class name to [r, g, b], for `coding: colour` where the class file has no colours.
        ignored_classes: names of `classes` that are no class: `ignored`, `void`.
        orientation: what labels of pictures with an EXIF orientation were made on: the `upright` picture that viewers
            show, or the `stored` pixels.

    Raises:
        ConfigError: no classes, a name twice, values or colours of no class, splits that contradict the folders, or
            labels that are of objects by their name.
        SourceError: the class file cannot be read.
    """
    base, where = Path(root), "source image_folders"
    suffixes = (image_suffix,) if isinstance(image_suffix, str) else tuple(image_suffix)
    label_suffix = label_suffix or (".json" if coding == "labelme" else ".png")
    if instances := next((name for name in INSTANCES if name in f"{labels}/{label_suffix}".lower()), ""):
        raise ConfigError(
            f"{where}: labels {labels!r} with {label_suffix!r} hold objects, numbered in every picture anew, as "
            f"{instances!r} says; classes are in {INSTANCES[instances]}"
        )
    folders = folders_of(
        "image_folders",
        base,
        (splits, lists, shares, seed),
        (images, image_prefix, suffixes),
        (labels, label_prefix, label_suffix),
    )
    meaning = declared(
        where, base, classes, coding, zero_is_ignored, values or {}, ignore_values, colours or {}, ignored_classes
    )
    options = {"images": images, "labels": labels, "image_suffix": list(suffixes), "label_suffix": label_suffix}
    # Options that were not there before stand in an identity only where they say something.
    later = {"image_prefix": image_prefix, "label_prefix": label_prefix}
    options |= {name: value for name, value in later.items() if value} | dict(meaning.identity)
    options |= {"orientation": orientation} if orientation != "upright" else {}
    return ImageFoldersSource(folders, meaning, zero_is_ignored, title or base.name, options, orientation)


class ImageFoldersSource(LabelPairs):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "image_folders"

    def __init__(
        self,
        folders: dict[str, Folders],
        meaning: Declared,
        zero_is_ignored: bool,
        title: str,
        options: dict[str, Any],
        orientation: Orientation,
    ) -> None:
        super().__init__(folders, meaning.names, meaning.read, orientation)
        self.zero_is_ignored, self.title, self.options = zero_is_ignored, title, options
        self.caution = meaning.caution

    def identity(self, split: str) -> dict[str, Any]:
        """Options, the class names, and a hash of the names and sizes of all files of the split."""
        return {
            "name": self.name,
            "split": split,
            **self.options,
            "zero_is_ignored": self.zero_is_ignored,
            "classes_sha256": hashlib.sha256(json.dumps(self.class_names).encode()).hexdigest(),
            **self.files(split),
        }

    def card(self) -> dict[str, Any]:
        names = self.class_names
        return {
            "title": self.title,
            "origin": f"Pictures and labels of a user. Classes ({len(names)}): {', '.join(names)}.",
            "licence": "not stated: whoever built this set knows",
            "terms": "those of the pictures and labels it was made from",
            "url": "",
            "splits": {split: {} for split in self.splits},
        }
