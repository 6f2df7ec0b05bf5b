"""A folder of pictures and a folder of labels, paired by name: the shape of ADE20K and of most segmentation data.

Owns the records and rejects of such a dataset; `ade20k`, `cityscapes` and `image_folders` say where the
folders are, what the classes are called and how a label file is read. Which files are a pair is `paired`'s, whether
the labels can be what was declared, `label_survey`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.example import Example
from pipeline.files.label_png import IGNORE, encode_label
from pipeline.files.photos import Orientation, Partner, load_picture
from pipeline.files.readable import Readable
from pipeline.sources.pairs.label_survey import survey
from pipeline.sources.pairs.matching import Folders, both_files
from pipeline.sources.pairs.paired import PairedFiles, name_below
from shards.contract.schema import Field

LABEL = "label"


class LabelPairs(PairedFiles):
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
        read: Callable[[Readable], np.ndarray],
        orientation: Orientation = "upright",
    ) -> None:
        super().__init__(folders)
        self.class_names, self.read = classes, read
        self.orientation: Orientation = orientation
        unit = f"class index 0 to {len(classes) - 1} at the picture's own size, {IGNORE} = ignore"
        self.label_fields = (Field(LABEL, "png", unit=unit),)

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or label is missing or damaged, their sizes differ, or the label is not one."""
        image_path, label_path = both_files(self.pair(split, key), self.folders[split])
        label = self.read(label_path)  # uint8 [H, W]
        size_px = (label.shape[0], label.shape[1])
        partner = Partner(f"its label {label_path} is", size_px, self.orientation)
        picture = load_picture(image_path, partner=partner)
        meta = {
            "file_name": name_below(image_path, self.folders[split].images),
            "height": picture.height,
            "width": picture.width,
            "ignore": IGNORE,
            "classes": len(self.class_names),
        }
        return Example(key, picture, meta, labels={LABEL: encode_label(label)})

    def notices(self, split: str) -> list[str]:
        """What a sample of the split's labels holds, in lines for a person. SourceError: it cannot be what is meant."""
        return survey(split, self.listing(split), self.folders[split], self.class_names, self.read, self.caution)
