"""NYUv2: depth in indoor rooms, from a Kinect, in the two forms people have it in.

Origin       Silberman et al., ECCV 2012; the folder form is the one BTS and VPD train on
form=mat     <root>/nyu_depth_v2_labeled.mat, <root>/splits.mat                          795 train, 654 test
form=folders <root>/nyu_depth_v2/sync/<scene>/{rgb_,sync_depth_}%05d.{jpg,png}           24,231 train
             <root>/nyu_depth_v2/official_splits/test/<room>/{rgb_,sync_depth_}%05d.*    654 test
             <root>/filenames/nyudepthv2/{train,test}_list.txt, or where the options say
Record       one image; key = frame number counted from 0 in 5 digits, or <folder>-<file> of the folder form
Label        depth: float32 metres (.mat) or the 16-bit PNG in millimetres bit for bit (folders); 0 = no measurement
Licence      see `card`; facts and pitfalls in docs/methods/data_layouts.md#nyuv2

Owns the options and the class of a picture. Leaves the files to `nyuv2_forms`, the class rules to `nyuv2_classes`.
`jobs/extract_nyuv2.py` makes the test half of the folder form out of the .mat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.example import Example, Inside, size_of
from pipeline.sources.nyuv2.classes import CLASS_NAMES, MEAN_CLASS, RULES, class_id
from pipeline.sources.nyuv2.folders import LISTS
from pipeline.sources.nyuv2.forms import SPLITS, FolderForm, Form, MatForm
from pipeline.sources.nyuv2.mat import DEPTHS, MAT_FILE, SPLITS_FILE
from shards.contract.schema import Field
from shards.errors import ConfigError, Reject

__all__ = ["CLASS_NAMES", "Nyuv2Source", "build"]

PUBLISHED = {"mat": {"train": 795, "test": 654}, "folders": {"train": 24_231, "test": 654}}
CHOICES = {
    "form": tuple(PUBLISHED),
    "depth": tuple(DEPTHS),
    "border": ("keep", "black"),
    "class_rule": RULES,
    "unknown": ("reject", "mean"),
}


def build(
    root: str | Path,
    form: str = "folders",
    depth: str = "raw",
    border: str = "keep",
    class_rule: str = "substring",
    unknown: str = "reject",
    mat: str = MAT_FILE,
    splits: str = SPLITS_FILE,
    train_list: str = LISTS["train"],
    test_list: str = LISTS["test"],
) -> Nyuv2Source:
    """The source; nothing is read before the first call of a method.

    Args:
        root: the folder that everything below is relative to.
        form: "mat" or "folders".
        depth: "raw" (the published truth) or "filled" (in-painted; form=mat only).
        border: "black" hides the white frame of the photographs as the published extraction does; form=mat only.
        class_rule: "substring" (VPD) or "exact" (mmsegmentation).
        unknown: what happens to a picture of no class: "reject", or "mean": class_id -1, the mean row of a class table.
        mat, splits: files of form=mat.
        train_list, test_list: files of form=folders, in either published format.

    Raises:
        ConfigError: a value that does not exist, or one that the form does not have.
    """
    given = {"form": form, "depth": depth, "border": border, "class_rule": class_rule, "unknown": unknown}
    for option, value in given.items():
        if value not in CHOICES[option]:
            raise ConfigError(f"nyuv2: {option} is {value!r}; expected one of {', '.join(CHOICES[option])}")
    if form == "mat":
        return Nyuv2Source(MatForm(Path(root), depth, border, mat, splits), class_rule, unknown)
    if (depth, border) != ("raw", "keep"):
        raise ConfigError(
            f"nyuv2: depth={depth} border={border} with form=folders, whose files hold raw depth and are used as they "
            "are; in-painted depth and the border are options of form=mat"
        )
    return Nyuv2Source(FolderForm(Path(root), {"train": train_list, "test": test_list}), class_rule, unknown)


class Nyuv2Source:
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options and opens the files again."""

    name = "nyuv2"
    item_axis = "view"
    splits = SPLITS
    class_names = CLASS_NAMES

    def __init__(self, form: Form, class_rule: str, unknown: str) -> None:
        self.form, self.class_rule, self.unknown = form, class_rule, unknown
        self.label_fields: tuple[Field, ...] = (form.label,)
        self.file_entries = form.file_entries

    def keys(self, split: str) -> list[str]:
        """In the order of splits.mat or of the list."""
        return self.form.keys(split)

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or depth is missing, damaged, of different sizes or without any measurement; no class."""
        frame = self.form.frame(split, key)
        height, width = size_of(frame.picture)
        meta = {
            **frame.facts,
            "file_name": f"{frame.folder}/{frame.file_name}",
            "height": height,
            "width": width,
            "class_id": self._class(frame.folder, frame.file_name, frame.where),
        }
        return Example(key, frame.picture, meta, labels={"depth": frame.depth})

    def files_of(self, split: str, key: str) -> Mapping[str, Path | Inside]:
        """Picture and depth map, or the frame of a .mat."""
        return self.form.files_of(split, key)

    def identity(self, split: str) -> dict[str, Any]:
        """Options and hashes of what names the pictures; of the whole .mat in that form."""
        return {
            "name": self.name,
            "form": self.form.name,
            "split": split,
            "class_rule": self.class_rule,
            "unknown": self.unknown,
            **self.form.identity(split),
        }

    def counts(self, split: str) -> dict[str, int]:
        return {"images": len(self.form.keys(split))}

    def card(self) -> dict[str, Any]:
        kind = "labelled frames" if self.form.name == "mat" else "sync frames for training, official test split"
        return {
            "title": f"NYU Depth V2 ({kind})",
            "origin": "Silberman, Hoiem, Kohli, Fergus: Indoor segmentation and support inference from RGBD images, "
            "ECCV 2012.",
            "licence": "None stated by the authors; published for research.",
            "terms": "Photographs of private homes and work places: cite the paper, and do not pass shards on.",
            "url": "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
            "splits": {split: {"images": count} for split, count in PUBLISHED[self.form.name].items()},
        }

    def _class(self, folder: str, file_name: str, where: str) -> int:
        found = class_id(folder, file_name, self.class_rule)
        if found is not None:
            return found
        if self.unknown == "mean":
            return MEAN_CLASS
        raise Reject(
            f"{where}: {folder!r} is none of the {len(CLASS_NAMES)} room classes (rule {self.class_rule}): "
            f"{', '.join(CLASS_NAMES)}. Option unknown=mean gives such pictures the mean of all classes"
        )
