"""A user's own depth: a picture folder, a depth folder and what their numbers mean, by configuration alone.

Layout       <root>/<images>/<prefix><stem><suffix>  and  <root>/<depths>/<prefix><stem><suffix>
             `{split}` in either folder is replaced by the split's name; stems may hold sub-folders
Splits       a folder each, a list each (`lists`), or seeded parts (`shares`)
Depth        16-bit PNG, float or 32-bit TIFF, .npy, PFM, HDF5 (see `pipeline.files.depth_values`)
Record       one picture with its depth in metres: a 16-bit PNG in the file's own unit where it is one and nothing has
             to be resized, else float32; 0 = no measurement
Scene class  one for all pictures, one by a CSV file, or the mean of all

Owns the options and the record. Leaves units and distances to `meaning`, the check of both to `survey`, and pictures of
other sizes than their depth to `sizes`. Layouts of cameras and datasets, and the lines to declare for each:
docs/own_data.md.

    source: {name: depth_folders, root: data/rooms, units_per_metre: 1000, max_depth_m: 10}
    source: {name: depth_folders, root: data/tum, images: rgb, depths: depth, shares: {train: 0.9, val: 0.1},
             units_per_metre: 5000, max_depth_m: 10, classes: [office]}
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.example import Example
from pipeline.files.class_list import class_list
from pipeline.files.depth_values import read_depth
from pipeline.files.photos import Orientation
from pipeline.files.readable import Readable
from pipeline.sources.depth_folders import meaning as meanings
from pipeline.sources.depth_folders.scenes import scene_of_pictures
from pipeline.sources.depth_folders.sizes import RESIZE, Layout, of_one_size
from pipeline.sources.depth_folders.survey import survey
from pipeline.sources.pairs.matching import Folders, both_files
from pipeline.sources.pairs.paired import IMAGE_SUFFIXES, PairedFiles, folders_of, name_below
from shards.contract.schema import Field
from shards.errors import ConfigError, Reject

MEAN_CLASS = -1  # stands for the mean of all rows of the class table
_PNG_UNITS = 65535


def build(
    root: str | Path,
    units_per_metre: float,
    max_depth_m: float,
    min_depth_m: float = 0.0,
    splits: Sequence[str] = (),
    images: str = "images/{split}",
    depths: str = "depths/{split}",
    image_suffix: str | Sequence[str] = IMAGE_SUFFIXES,
    depth_suffix: str = ".png",
    image_prefix: str = "",
    depth_prefix: str = "",
    lists: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    invalid: float | Sequence[float] = 0.0,
    bits: str = "plain",
    distance: str = "axis",
    focal_px: float = 0.0,
    baseline_m: float = 0.0,
    doffs_px: float = 0.0,
    key: str = "",
    image_key: str = "",
    resize: str = "nothing",
    classes: str | Sequence[str] = ("scene",),
    scenes: str = "",
    orientation: Orientation = "upright",
    title: str = "",
) -> DepthFoldersSource:
    """The source.

    Args:
        root: folder the others are relative to.
        units_per_metre: numbers of a file in a metre: 1, 1000 (millimetres), 5000 (TUM), 4000, 256 (KITTI); of pixels
            with `distance: disparity`.
        max_depth_m, min_depth_m: range of the measurements in metres; what lies outside counts as none. The median of
            the files must lie inside, or the build is refused.
        splits: names of the splits, each with folders of its own; train and val where nothing else is said.
        images, depths: folders below `root`; `{split}` stands for the split.
        image_suffix, depth_suffix, image_prefix, depth_prefix: what stands around the common part of the names.
        lists: split to a text file with a line a picture: its name, or the paths of picture and depth.
        shares: split to its part of all pictures, drawn by `seed`.
        seed: of `shares`.
        invalid: number, or numbers, of a file that stand for no measurement; NaN, infinity and what is not above 0 do
            so always.
        bits: `plain`, or `sun_rgbd`, whose files have the three lowest bits at the top.
        distance: `axis`, `ray` (along the line of sight, as Hypersim's; needs `focal_px`), or `disparity` (needs
            `focal_px` and `baseline_m`).
        focal_px, baseline_m, doffs_px: calibration, in pixels of the depth map and metres.
        key: dataset of HDF5 files that holds the depth.
        image_key: dataset of the same files that holds the picture, uint8 [3, H, W] or [H, W, 3]; then `images` is not
            read.
        resize: where sizes differ: `nothing` (such a pair is a reject), `picture` (to the depth, bilinear), or `depth`
            (to the picture, nearest, so that no distance is invented between two things).
        classes: names of scene classes, for the prompts; of a single one, all pictures are.
        scenes: CSV file with the columns file and scene; pictures it does not name get the mean of all classes, as all
            do where there are several classes and no such file.
        orientation: what the depth of pictures with an EXIF orientation was made for: the `upright` picture that
            viewers show, or the `stored` pixels.
        title: for the set's README.

    Raises:
        ConfigError: options that contradict each other, or a distance without its calibration.
        SourceError: a class or scene file that cannot be read.
    """
    base = Path(root)
    if resize not in RESIZE:
        raise ConfigError(f"{meanings.WHERE}: resize is {resize!r}; expected one of {', '.join(RESIZE)}")
    if image_key:
        images, image_suffix, image_prefix = depths, depth_suffix, depth_prefix
    folders = folders_of(
        "depth_folders",
        base,
        (splits, lists, shares, seed),
        (images, image_prefix, image_suffix),
        (depths, depth_prefix, depth_suffix),
        kind="depth",
        one_file=bool(image_key),
    )
    invalid = meanings.invalid_values(invalid)
    meant = meanings.Meaning(
        units_per_metre, max_depth_m, min_depth_m, invalid, bits, distance, focal_px, baseline_m, doffs_px
    )
    names = class_list(classes, base, f"{meanings.WHERE}: classes").names
    by_picture = scene_of_pictures(base / scenes, names) if scenes else None
    layout = Layout(resize, key, image_key, orientation)
    return DepthFoldersSource(folders, meant, layout, names, by_picture, title or base.name)


class DepthFoldersSource(PairedFiles):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "depth_folders"
    item_axis = "view"

    def __init__(
        self,
        folders: Mapping[str, Folders],
        meaning: meanings.Meaning,
        layout: Layout,
        class_names: tuple[str, ...],
        scenes: Mapping[str, int] | None,
        title: str,
    ) -> None:
        super().__init__(folders)
        self.meaning, self.layout, self.title = meaning, layout, title
        self.class_names, self.scenes = class_names, scenes
        self._stored = self._png_units()
        unit = f"{_unit(self._stored)}, 0 = no measurement" if self._stored else "metres, 0 = no measurement"
        depth = Field("depth", "png", unit=f"uint16, {unit}")
        if not self._stored:
            depth = Field("depth", "npy", "float32", ("H", "W"), unit=unit)
        self.label_fields: tuple[Field, ...] = (depth,)

    def load(self, split: str, key: str) -> Example:
        """Reject: picture or depth is missing or damaged, without a measurement, or not of one size and shape."""
        pair = self.pair(split, key)
        image_path, depth_path = both_files(pair, self.folders[split])
        if self._stored and depth_path.suffix.lower() != ".png":  # only a list can name such a file
            raise Reject(f"depth {depth_path} is no PNG; declare depth_suffix: {depth_path.suffix}")
        depth_m = self.meaning.metres(self._numbers(depth_path), f"depth {depth_path}")  # float32 [H, W]
        if not depth_m.any():
            raise Reject(
                f"depth {depth_path} has no measurement from {self.meaning.min_depth_m:g} to "
                f"{self.meaning.max_depth_m:g} m"
            )
        image, depth_m = of_one_size(image_path, depth_path, depth_m, self.layout)
        meta = {
            "file_name": name_below(image_path, self.folders[split].images),
            "depth_name": name_below(depth_path, self.folders[split].labels),
            "height": image.shape[0],
            "width": image.shape[1],
            "class_id": self._class(pair.stem),
        }
        return Example(key, image, meta, labels={"depth": self._to_store(depth_m)})

    def notices(self, split: str) -> list[str]:
        """What a sample of the depth files holds, in metres. SourceError: the declared unit cannot be right."""
        return survey(split, self.listing(split), self.folders[split], self.meaning, self._numbers)

    def identity(self, split: str) -> dict[str, Any]:
        """The declaration, the classes, and a hash of the names and sizes of all files of the split."""
        scenes = None if self.scenes is None else sorted(self.scenes.items())
        text = json.dumps([self.class_names, scenes])
        return {
            "name": self.name,
            "split": split,
            "meaning": {**asdict(self.meaning), "invalid": list(self.meaning.invalid)},
            "layout": asdict(self.layout),
            "classes_sha256": hashlib.sha256(text.encode()).hexdigest(),
            **self.files(split),
        }

    def card(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "origin": "Pictures and depth of a user.",
            "licence": "not stated: whoever built this set knows",
            "terms": "those of the pictures and depth it was made from",
            "url": "",
            "splits": {split: {} for split in self.splits},
        }

    def _numbers(self, path: Readable) -> np.ndarray:
        return read_depth(path, self.layout.key)

    def _class(self, stem: str) -> int:
        if self.scenes is not None:
            return self.scenes.get(stem, MEAN_CLASS)
        return 0 if len(self.class_names) == 1 else MEAN_CLASS

    def _png_units(self) -> int:
        """Units in a metre of the PNGs that are stored, or 0 for float32: files of another kind, or units that end."""
        units = self.meaning.units_per_metre
        files_are_png = all(folders.label_suffix.lower().endswith(".png") for folders in self.folders.values())
        whole = float(units).is_integer() and self.meaning.max_depth_m * units <= _PNG_UNITS
        return int(units) if files_are_png and whole and self.meaning.distance == "axis" else 0

    def _to_store(self, depth_m: np.ndarray) -> np.ndarray | bytes:
        if not self._stored:
            return np.ascontiguousarray(depth_m, np.float32)
        units = np.rint(depth_m.astype(np.float64) * self._stored).astype(np.uint16)  # the file's own numbers again
        buffer = io.BytesIO()
        Image.fromarray(units).save(buffer, "PNG")
        return buffer.getvalue()


def _unit(per_metre: int) -> str:
    return {1: "metres", 1000: "millimetres"}.get(per_metre, f"1/{per_metre} metres")
