"""One's own data as a dataset of the Hugging Face `datasets` library, by naming its columns.

Columns      image                              pictures alone
             image, caption                     pictures with captions
             image, label                       segmentation: encoded pictures or arrays of whole numbers
             image, depth                       depth: 16-bit or float pictures, or arrays
             image, sentences, and one of mask, polygon, box, rle, segmentation      referring
Record       one row, under its number

Owns the options and which kind of data they mean. What the values mean is declared as for folders and files
(`image_folders`, `depth_folders`, `refer_file`, `pictures`), and checked by the same code.

    source: {name: hf_dataset, dataset: me/rooms, columns: {image: image, depth: depth_map}, units_per_metre: 1000,
             max_depth_m: 10, splits: {train: train, val: validation}}
    source: {name: hf_dataset, dataset: ~/data/cracks, columns: {image: photo, label: mask},
             classes: [sound, crack], values: {0: sound, 255: crack}, shares: {train: 0.9, val: 0.1}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path

from pipeline.files.class_list import class_list
from pipeline.files.photos import Orientation
from pipeline.sources.depth_folders.meaning import WHERE as DEPTH
from pipeline.sources.depth_folders.meaning import Meaning, invalid_values
from pipeline.sources.depth_folders.sizes import RESIZE, Layout
from pipeline.sources.hf_dataset.kinds import DepthRows, SegmentationRows
from pipeline.sources.hf_dataset.pictures import PictureRows
from pipeline.sources.hf_dataset.place import Place, library
from pipeline.sources.hf_dataset.refs import RefRows
from pipeline.sources.hf_dataset.splits import RowSplits
from pipeline.sources.pairs.codings import LABELME, declared
from pipeline.sources.pictures.captions import MISSING
from pipeline.sources.refer_file.entries import TARGETS
from pipeline.sources.refer_file.targets import Coordinates
from shards.errors import ConfigError, did_you_mean

WHERE = "source hf_dataset"
ROLES = ("image", "caption", "label", "depth", "sentences", *TARGETS)
KINDS = {  # kind of data -> the column that makes it so, and the options that are of it alone
    "segmentation": ("label", ("coding", "values", "ignore_values", "colours", "ignored_classes", "zero_is_ignored")),
    "depth": ("depth", ("units_per_metre", "max_depth_m", "min_depth_m", "invalid", "resize")),
    "referring": ("sentences", ("box_form", "units")),
    "captions": ("caption", ("missing_caption",)),
}


def build(
    dataset: str,
    columns: Mapping[str, str],
    splits: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    config: str = "",
    revision: str = "",
    streaming: bool = False,
    limit: int = 0,
    classes: str | Sequence[str] = (),
    coding: str = "index",
    values: Mapping[str, str] | None = None,
    ignore_values: Sequence[int] | None = None,
    colours: Mapping[str, Sequence[int]] | None = None,
    ignored_classes: Sequence[str] = (),
    zero_is_ignored: bool = False,
    units_per_metre: float = 0.0,
    max_depth_m: float = 0.0,
    min_depth_m: float = 0.0,
    invalid: float | Sequence[float] = 0.0,
    resize: str = "nothing",
    box_form: str = "",
    units: str = "pixels",
    missing_caption: str = "reject",
    orientation: Orientation = "upright",
    title: str = "",
) -> SegmentationRows | DepthRows | RefRows | PictureRows:
    """The source.

    Args:
        dataset: a folder of `save_to_disk`; files (parquet, arrow, json, csv) or an image folder, by their folder, name
            or pattern; or a hub id.
        columns: names of columns by what they hold: image, and label, depth, caption, or sentences with one of mask,
            polygon, box, rle, segmentation.
        splits: split of the set to split of the dataset; train alone where nothing is said.
        shares: split of the set to its part of the rows of one dataset split, drawn by `seed`.
        seed: of `shares`.
        config: configuration of the dataset, for those that have several.
        revision: branch, tag or commit of a hub dataset.
        streaming: read rows as they come and keep no copy; needs `limit`.
        limit: rows to take of each split, from its start; 0: all.
        classes, coding, values, ignore_values, colours, ignored_classes, zero_is_ignored: of labels; see
            `image_folders`. For depth, `classes` names the scene of all pictures.
        units_per_metre, max_depth_m, min_depth_m, invalid, resize: of depth; see `depth_folders`.
        box_form, units: of boxes and polygons; see `refer_file`.
        missing_caption: a row without a caption is a `reject`, or has an `empty` one.
        orientation: what labels or depth of pictures with an EXIF orientation were made on: the `upright` picture that
            viewers show, or the `stored` pixels.
        title: for the set's README.

    Raises:
        ConfigError: columns that make no kind of data, options of another kind, or the library is not installed.
        SourceError: the dataset cannot be opened.
    """
    given = locals()
    kind = kind_of(columns)
    unset = {name: parameter.default for name, parameter in signature(build).parameters.items()}
    for other, (column, options) in KINDS.items():
        if other != kind and (meant := [name for name in options if given[name] != unset[name]]):
            raise ConfigError(f"{WHERE}: {meant[0]} is of {other}, for which columns needs {column}; found {kind}")
    if classes and kind not in ("segmentation", "depth"):
        raise ConfigError(f"{WHERE}: classes are of labels and of depth; columns make {kind}")
    if orientation != unset["orientation"] and kind not in ("segmentation", "depth"):
        raise ConfigError(f"{WHERE}: orientation is that of labels and of depth; columns make {kind}")
    library()
    rows = RowSplits(
        Place(dataset, config, revision, streaming, limit), splits or {"train": "train"}, shares or {}, seed, columns
    )
    if kind == "segmentation":
        if coding == LABELME:
            raise ConfigError(f"{WHERE}: coding labelme is of files; labels of rows are pictures or arrays")
        meaning = declared(
            WHERE,
            Path(),
            classes,
            coding,
            zero_is_ignored,
            values or {},
            ignore_values,
            colours or {},
            ignored_classes,
        )
        return SegmentationRows(rows, meaning, orientation, title)
    if kind == "depth":
        if resize not in RESIZE:
            raise ConfigError(f"{WHERE}: resize is {resize!r}; expected one of {', '.join(RESIZE)}")
        depth = Meaning(units_per_metre, max_depth_m, min_depth_m, invalid_values(invalid))
        names = class_list(classes or ("scene",), Path(), f"{DEPTH}: classes").names
        return DepthRows(rows, depth, Layout(resize, "", "", orientation), names, title)
    if kind == "referring":
        return RefRows(rows, Coordinates(box_form, units), title)
    if missing_caption not in MISSING:
        raise ConfigError(f"{WHERE}: missing_caption is {missing_caption!r}; expected one of {', '.join(MISSING)}")
    return PictureRows(rows, missing_caption, title)


def kind_of(columns: Mapping[str, str]) -> str:
    """The kind of data that the named columns make. ConfigError: none, or several."""
    for role in columns:
        if role not in ROLES:
            raise ConfigError(f"{WHERE}: columns names {role!r}.{did_you_mean(role, ROLES)} Known: {', '.join(ROLES)}")
    if "image" not in columns:
        raise ConfigError(f"{WHERE}: columns names no image; say which column holds the pictures: columns.image=NAME")
    kinds = [kind for kind, (column, _) in KINDS.items() if column in columns]
    targets = [role for role in TARGETS if role in columns]
    if len(kinds) > 1 or len(targets) > 1 or bool(targets) != (kinds == ["referring"]):
        raise ConfigError(
            f"{WHERE}: columns are {', '.join(columns)}; expected image alone, or with one of label, depth, caption, "
            f"or with sentences and one of {', '.join(TARGETS)}"
        )
    return kinds[0] if kinds else "pictures"
