"""HDF5 files of depth: which of their datasets holds it, and which the picture where it is in the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.files.depth_values import HDF5, datasets_of
from pipeline.layouts.guess import Option
from pipeline.layouts.names import Names
from shards.errors import Reject, SourceError


def names_of(folder: Path) -> Names:
    """The files of a folder, each of which is a picture and its depth."""
    entries = [entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in HDF5]
    suffix = entries[0].suffix
    return Names("", "", "", suffix, tuple(entry.stem for entry in entries if entry.suffix == suffix))


def keys_of(path: Path, one_file: bool) -> dict[str, Option]:
    """The options `key`, and `image_key` where picture and depth are in one file.

    Raises:
        SourceError: no dataset that could be depth, or a picture that is not of 8 bits.
    """
    try:
        found = datasets_of(path)
    except Reject as reject:
        raise SourceError(str(reject)) from reject
    there = ", ".join(found) or "(none)"
    flat = [name for name, (shape, _) in found.items() if len(shape) == 2]
    deep = next((name for name in flat if "depth" in name.lower()), flat[0] if flat else "")
    if not deep:
        raise SourceError(f"{path}: none of its datasets {there} is one number a pixel")
    options = {"key": Option(deep, f"of the datasets {there}")}
    if not one_file:
        return options
    image = next((name for name, (shape, _) in found.items() if len(shape) == 3 and 3 in (shape[0], shape[2])), "")
    if not image:
        raise SourceError(f"{path}: no dataset of {there} is a picture; give the folder of pictures by images=")
    if found[image][1] != np.uint8:
        raise SourceError(
            f"{path}: its pictures ({image}) are {found[image][1]}; expected uint8, 0 to 255. Save them anew"
        )
    return options | {"image_key": Option(image, "the picture is in the same file")}
