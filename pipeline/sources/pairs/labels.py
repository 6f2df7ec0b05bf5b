"""A folder of pictures and a folder of labels, paired by name: the shape of ADE20K and of most segmentation data.

Owns records, rejects and the identity of such a dataset; `ade20k`, `cityscapes` and `image_folders` say where the
folders are, what the classes are called and how a label file is read. Which files are a pair is `matching`'s, whether
the labels can be what was declared, `label_survey`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pipeline.example import Example
from pipeline.files.label_png import IGNORE, encode_label
from pipeline.files.photos import Orientation, Partner, read_picture
from pipeline.sources.pairs.label_survey import survey
from pipeline.sources.pairs.matching import Folders, Listing, both_files, list_pairs
from shards.contract.schema import Field
from shards.errors import SourceError

LABEL = "label"


class LabelPairs:
    """Everything of a Source (see `pipeline.example`) that follows from the folders and the classes. Thread-safe.

    Args:
        classes: names in the order of the stored label values.
        read: a label file as classes from 0 and IGNORE, uint8 [H, W]; a Reject where it is none.
        orientation: what labels of a picture with an EXIF orientation were made on.
    """

    item_axis = "view"
    caution = ""  # what to try where nearly everything is ignored, if the ignored values were not declared

    def __init__(
        self,
        folders: Mapping[str, Folders],
        classes: tuple[str, ...],
        read: Callable[[Path], np.ndarray],
        orientation: Orientation = "upright",
    ) -> None:
        self.folders, self.class_names, self.read = dict(folders), classes, read
        self.orientation: Orientation = orientation
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
        image_path, label_path = both_files(pair, self.folders[split])
        label = self.read(label_path)  # uint8 [H, W]
        size_px = (label.shape[0], label.shape[1])
        partner = Partner(f"its label {label_path} is", size_px, self.orientation)
        image = read_picture(image_path, partner=partner)  # uint8 [H, W, 3]
        meta = {
            "file_name": name_below(image_path, self.folders[split].images),
            "height": image.shape[0],
            "width": image.shape[1],
            "ignore": IGNORE,
            "classes": len(self.class_names),
        }
        return Example(key, image, meta, labels={LABEL: encode_label(label)})

    def notices(self, split: str) -> list[str]:
        """What a sample of the split's labels holds, in lines for a person. SourceError: it cannot be what is meant."""
        return survey(split, self.listing(split), self.folders[split], self.class_names, self.read, self.caution)

    def listing(self, split: str) -> Listing:
        """The pairs of a split, listed once. SourceError: unknown split, missing folder, or not one pair."""
        if split not in self.folders:
            raise SourceError(f"there is no split {split!r}; expected one of {', '.join(self.splits)}")
        with self._lock:
            if split not in self._listings:
                self._listings[split] = list_pairs(self.folders[split], split)
            return self._listings[split]


def name_below(path: Path, folder: Path) -> str:
    """A file's path below a folder, or its name where a list put it elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
