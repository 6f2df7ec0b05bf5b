"""A user's own segmentation data: a picture folder, a label folder and a list of classes, by configuration alone.

Layout       <root>/<images>/<stem><image suffix>  and  <root>/<labels>/<stem><label suffix>
             `{split}` in either folder is replaced by the split's name; stems may hold sub-folders
Labels       8-bit single-channel PNG (grey, or a palette whose indices are the classes)
Classes      a list in the configuration, or a file in a form of `pipeline.files.class_list`

Owns the options. Leaves pairs, labels and rejects to `pairs.labels`.

    source: {name: image_folders, root: data/cracks, classes: [sound, crack], splits: [train, val]}
    source:                                    # Cityscapes with its 19 training classes
      {name: image_folders, root: data/cityscapes, classes: data/cityscapes/classes.txt, splits: [train, val],
       images: "leftImg8bit/{split}", labels: "gtFine/{split}",
       image_suffix: _leftImg8bit.png, label_suffix: _gtFine_labelTrainIds.png}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.files.class_list import class_list
from pipeline.files.label_png import counted
from pipeline.sources.pairs.labels import Folders, LabelPairs
from shards.errors import ConfigError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def build(
    root: str | Path,
    classes: str | Sequence[str],
    splits: Sequence[str] = ("train", "val"),
    images: str = "images/{split}",
    labels: str = "labels/{split}",
    image_suffix: str | Sequence[str] = IMAGE_SUFFIXES,
    label_suffix: str = ".png",
    zero_is_ignored: bool = False,
    title: str = "",
) -> ImageFoldersSource:
    """The source.

    Args:
        root: folder the others are relative to.
        classes: names in the order of the label values, or a file of them, below `root` or elsewhere.
        splits: names of the splits.
        images, labels: folders below `root`; `{split}` stands for the split.
        image_suffix, label_suffix: what follows the common part of the names.
        zero_is_ignored: label 0 is no class and label k is the k-th name (ADE20K's rule); else label 0 is the first
            name. 255 is ignored under both.
        title: for the set's README.

    Raises:
        ConfigError: no classes, a name twice, no splits, or folders that are the same for every split.
        SourceError: the class file cannot be read.
    """
    splits = tuple(splits)
    if not splits or len(set(splits)) != len(splits):
        raise ConfigError(f"source image_folders: splits is {list(splits)}; expected different names, at least one")
    shared = [text for text in (images, labels) if "{split}" not in text]
    if len(splits) > 1 and shared:
        raise ConfigError(
            f"source image_folders: {shared[0]!r} is one folder for all of {', '.join(splits)}; put {{split}} into it"
        )
    suffixes = (image_suffix,) if isinstance(image_suffix, str) else tuple(image_suffix)
    base = Path(root)
    if images == labels:
        raise ConfigError(f"source image_folders: pictures and labels are both in {images!r}; give them two folders")
    folders = {
        split: Folders(
            base / images.replace("{split}", split), base / labels.replace("{split}", split), suffixes, label_suffix
        )
        for split in splits
    }
    options = {"images": images, "labels": labels, "image_suffix": list(suffixes), "label_suffix": label_suffix}
    return ImageFoldersSource(
        folders,
        class_list(classes, base, "source image_folders: classes").names,
        zero_is_ignored,
        title or base.name,
        options,
    )


class ImageFoldersSource(LabelPairs):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "image_folders"

    def __init__(
        self,
        folders: dict[str, Folders],
        classes: tuple[str, ...],
        zero_is_ignored: bool,
        title: str,
        options: dict[str, Any],
    ) -> None:
        super().__init__(folders, classes, counted(len(classes), zero_is_ignored))
        self.zero_is_ignored, self.title, self.options = zero_is_ignored, title, options

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageFoldersSource, (self.folders, self.class_names, self.zero_is_ignored, self.title, self.options)

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
