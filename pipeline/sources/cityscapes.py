"""Cityscapes for semantic segmentation: 19 classes, finely labelled, or coarsely with `train_extra`.

Origin       www.cityscapes-dataset.com (Cordts et al. 2016): leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip;
             leftImg8bit_trainextra.zip and gtCoarse.zip for train_extra
Layout       <root>/leftImg8bit/{train,val,train_extra}/<city>/<stem>_leftImg8bit.png
             <root>/gtFine/{train,val}/<city>/<stem>_gtFine_labelIds.png
             <root>/gtCoarse/train_extra/<city>/<stem>_gtCoarse_labelIds.png
Record       one picture of 2048 x 1024; key = city and file name without suffix, its slash percent-encoded
Labels       8-bit PNG of label ids 0 to 33, as released; 19 of them are classes, the others are ignored. Or, by option,
             the train ids 0 to 18 that mmsegmentation's preparation writes beside them
Licence      see `card`; facts in docs/methods/data_layouts.md#cityscapes

Owns the layout and the table of classes. Leaves pairs, labels and rejects to `pairs.labels`. Labels of the test split
were never released.

The labels that Meta Prompts used with train_extra were made by a model and hold train ids
(docs/methods/segmentation.md#cityscapes):
    source: {name: cityscapes, root: data/cityscapes, labels: labelTrainIds, extra_labels: convert_autolabelled,
             extra_suffix: _leftImg8bit.png}
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.files.label_png import IGNORE, counted, read_label
from pipeline.sources.pairs.labels import LabelPairs
from pipeline.sources.pairs.matching import Folders
from shards.errors import ConfigError, SourceError

IMAGES, IMAGE_SUFFIX = "leftImg8bit", "_leftImg8bit.png"
PUBLISHED = {"train": 2_975, "val": 500, "train_extra": 19_998}  # pictures
LABELS = ("labelIds", "labelTrainIds")

# Label ids of the 19 classes, in the order of the train ids: the dataset's own table (labels.py of its scripts).
CLASSES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
LABEL_IDS = 34  # 0 to 33; a licence plate, -1 in the table, is 255 in the files


@dataclass(frozen=True)
class Options:
    """Which label files are read, below the root; see `build`."""

    labels: str
    extra_labels: str
    extra_suffix: str


def build(
    root: str | Path,
    labels: str = "labelIds",
    extra_labels: str = "gtCoarse/train_extra",
    extra_suffix: str = "",
) -> CityscapesSource:
    """The source of a Cityscapes folder.

    Args:
        root: folder that holds leftImg8bit and gtFine.
        labels: values of the label files: `labelIds` as released, or `labelTrainIds`, 0 to 18 and 255.
        extra_labels: folder of the labels of train_extra, below the root, with a folder for each city.
        extra_suffix: what follows the common part of their names; empty: `_gtCoarse_<labels>.png`.

    Raises:
        ConfigError: `labels` is none of the two.
        SourceError: no such folder, or none of Cityscapes.
    """
    if labels not in LABELS:
        raise ConfigError(f"source cityscapes: labels is {labels!r}; expected {' or '.join(LABELS)}")
    return CityscapesSource(Path(root), Options(labels, extra_labels, extra_suffix or f"_gtCoarse_{labels}.png"))


class CityscapesSource(LabelPairs):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its folder and lists the files again."""

    name = "cityscapes"

    def __init__(self, root: Path, options: Options) -> None:
        self.root, self.options = root, options
        if not (root / IMAGES).is_dir():
            raise SourceError(_not_here(root))
        fine = f"_gtFine_{options.labels}.png"
        self.label_files = {split: (f"gtFine/{split}", fine) for split in ("train", "val")}
        self.label_files["train_extra"] = (options.extra_labels, options.extra_suffix)
        folders = {
            split: Folders(root / IMAGES / split, root / folder, (IMAGE_SUFFIX,), suffix)
            for split, (folder, suffix) in self.label_files.items()
        }
        super().__init__(folders, tuple(CLASSES), partial(read_label, class_of=class_of(options.labels)))

    def identity(self, split: str) -> dict[str, Any]:
        """The kind and place of the labels, and a hash of the names and sizes of all files of the split."""
        listed = self.files(split)  # refuses a split that does not exist
        folder, suffix = self.label_files[split]
        place = {"labels": self.options.labels, "label_folder": folder, "label_suffix": suffix}
        return {"name": self.name, "split": split, **place, **listed}

    @staticmethod
    def card() -> dict[str, Any]:
        return {
            "title": "Cityscapes, semantic segmentation with 19 classes",
            "origin": "Daimler AG, MPI for Informatics and TU Darmstadt; street scenes of 50 cities, pixel by pixel.",
            "licence": "Cityscapes' own licence: non-commercial use only, after registration; the data and modified "
            "versions of it must not be passed on, nor anything that lets it be recovered.",
            "terms": "Latents are made from the pictures, and decoding them shows the pictures again: they fall under "
            "the same terms. Keep the sets where the licence was accepted.",
            "url": "https://www.cityscapes-dataset.com/",
            "splits": {split: {"images": count} for split, count in PUBLISHED.items()},
        }


def class_of(labels: str) -> tuple[int, ...]:
    """The class of every value of a kind of label file, for `label_png.read_label`."""
    if labels == "labelTrainIds":
        return counted(len(CLASSES), zero_is_ignored=False)
    train_ids = {label_id: train_id for train_id, label_id in enumerate(CLASSES.values())}
    return tuple(train_ids.get(label_id, IGNORE) for label_id in range(LABEL_IDS))


def _not_here(root: Path) -> str:
    found = sorted(entry.name for entry in root.iterdir())[:8] if root.is_dir() else []
    below = [name for name in found if (root / name / IMAGES).is_dir()]
    if below:
        return f"{root}: {IMAGES} is one folder further down; pass {root / below[0]}"
    return (
        f"{root}: is not a Cityscapes folder: {IMAGES} is missing. Found: {', '.join(found) or 'nothing'}. Expected "
        f"{IMAGES}/ and gtFine/, as the zips unpack into one folder; for data of your own use the source image_folders"
    )
