"""Pictures and depth: which options of `depth_folders` read them, and what must be said by whoever made them.

Owns what numbers can tell: floats near the size of a room are metres, three low bits without use are SUN RGB-D's, a
`calib.txt` makes disparity a distance. No 16-bit file says its unit, so that is refused with the medians in all units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files.depth_values import HDF5, read_depth
from pipeline.layouts import hdf5
from pipeline.layouts.folders import Places, folder, lists_beside, of_training, places_of, splits_of
from pipeline.layouts.guess import Guess, Option, options_of
from pipeline.layouts.labels import spread
from pipeline.layouts.names import Names
from pipeline.layouts.seg import labels_of, named, paired, stems_of, stems_of_split
from pipeline.layouts.sizes import size_of_pictures
from pipeline.sources.depth_folders.meaning import Meaning, rotated
from pipeline.sources.depth_folders.survey import UNITS
from shards.errors import ConfigError, Reject, SourceError

SUFFIXES = (".png", ".npy", ".tiff", ".tif", ".pfm", ".pgm", ".h5", ".hdf5", ".exr", ".dpt")
HINTS = ("depth", "disp", "_d.", "gt")
LOOKED_AT = 24
_METRES = (0.05, 200.0)  # medians of floats that can be metres
_RANGES_M = (5.0, 10.0, 20.0, 80.0, 200.0)  # ends of measurements in use
_UNUSED_BITS = 7  # of SUN RGB-D's numbers below 8.192 m
_HYPERSIM_FOCAL = 886.81 / 1024  # of the width
_CALIBRATION = re.compile(r"^(\w+)\s*=\s*\[?\s*([-+.\deE]+)", re.MULTILINE)


def look(images: str, labels: str, given: Mapping[str, Any]) -> Guess:
    """SourceError: the folders do not fit, the numbers are no depth, or their unit must be said; `given` are the
    options that were."""
    pictures, answers = folder(images, "images"), folder(labels, "labels")
    places = places_of(pictures, answers)
    one_file = pictures == answers and any(entry.suffix.lower() in HDF5 for entry in answers.iterdir())
    names = hdf5.names_of(answers) if one_file else paired(places, SUFFIXES, HINTS)
    found_stems = list(names.stems) if one_file else stems_of(places, names)
    splits, ways = splits_of(
        places, found_stems, lists_beside(places.root, found_stems) if "" in places.folders else {}
    )
    files = (
        [place / name for place, name in labels_of(places, names)]
        if not one_file
        else [answers / names.label_of(stem) for stem in names.stems]
    )
    keys = hdf5.keys_of(files[0], one_file) if files[0].suffix.lower() in HDF5 else {}
    numbers = _numbers(spread(files, LOOKED_AT), str(given.get("key", keys["key"].value if keys else "")))
    unit = _unit(numbers, files, given)
    options = options_of(
        {
            "images": Option(places.images, "pictures"),
            "depths": Option(places.labels, f"{len(files)} pairs; {len(numbers)} looked at"),
        },
        named(names, "depth"),
        ways,
        keys,
        unit,
        _sizes(places, names, numbers, splits.train) if not one_file else {},
    )
    said = {name: option.value for name, option in unit.items()} | dict(given)
    meaning = Meaning(
        _number(said, "units_per_metre", 1.0),
        max_depth_m=1e9,
        **{name: said[name] for name in ("bits", "distance") if name in said},
        focal_px=_number(said, "focal_px", 0.0),
        baseline_m=_number(said, "baseline_m", 0.0),
        doffs_px=_number(said, "doffs_px", 0.0),
    )
    measured = np.concatenate([depth_m[valid][::7] for depth_m, valid in _metres(numbers, meaning)] or [np.empty(0)])
    if not measured.size:
        raise SourceError(f"no pixel of {len(numbers)} depth files below {answers} is a measurement")
    near, median, far = (float(value) for value in np.percentile(measured, (0.5, 50, 99.5)))
    most = _number(given, "max_depth_m", next((end for end in _RANGES_M if far <= end), float(np.ceil(far))))
    why = f"what is farther counts as no measurement; 99.5 % are nearer than {far:.2f} m, the median is {median:.3f} m"
    options["max_depth_m"] = Option(most, why)
    first = "" if "" in places.folders else splits.train
    count = of_training(found_stems, splits, ways, places.root)
    if first:
        count = len(stems_of_split(places, names, first))
    size_px = numbers[0].shape[:2] if one_file else size_of_pictures(places.folders[first][0], names)
    valid_share = float(np.mean([valid.mean() for _, valid in _metres(numbers, meaning)]))
    note = f"{valid_share:.1%} of the pixels are measured, {near:.2f} to {far:.2f} m without the outermost 0.5 %"
    return Guess(
        "depth_folders", places.root, options, splits, count, (size_px[0], size_px[1]), (note,), max_depth_m=most
    )


def _unit(numbers: Sequence[np.ndarray], files: Sequence[Path], given: Mapping[str, Any]) -> dict[str, Option]:
    """Unit, bits and distance, as far as files say them. SourceError: they must be said, and what to type."""
    first = files[0]
    if "units_per_metre" in given:
        return {"units_per_metre": Option(given["units_per_metre"], "as said")}
    if first.suffix.lower() == ".pfm" or "disp" in first.name.lower():
        return _disparity(files, given)
    if ".depth_meters" in first.name:
        return {
            "units_per_metre": Option(1, "Hypersim's files are in metres"),
            "distance": Option("ray", "along the line of sight, as Hypersim's files by their name"),
            "focal_px": Option(
                round(_HYPERSIM_FOCAL * numbers[0].shape[1], 2), "of Hypersim's camera, 886.81 at 768 x 1024"
            ),
        }
    medians = _medians(numbers)
    if numbers[0].dtype.kind == "f":
        median = medians["metres"]
        nearer_than_1 = all(np.nanmax(np.where(np.isfinite(values), values, 0)) <= 1 for values in numbers)
        if _METRES[0] <= median <= _METRES[1] and not nearer_than_1:  # up to 1: scaled to each picture, most likely
            why = f"a guess: numbers with a median of {median:.3f} in floats are metres"
            return {"units_per_metre": Option(1, why)}
    found = ", ".join(f"{name} {value:.3f} m" for name, value in medians.items())
    words = "source.units_per_metre=1000 for millimetres, 5000 TUM, 4000 Matterport3D, 256 KITTI, 100 or 1"
    raise SourceError(
        f"no depth file says its unit. Medians of {len(numbers)} files in the units in use: {found}"
        f"{_rotated(numbers)}. Say which is right: {words}"
    )


def _number(said: Mapping[str, Any], name: str, otherwise: float) -> float:
    """ConfigError: what was said is none."""
    value = said.get(name, otherwise)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"source.{name}={value}: expected a number.") from error


def _disparity(files: Sequence[Path], given: Mapping[str, Any]) -> dict[str, Option]:
    if given.get("distance") == "disparity" or "focal_px" in given:
        return {"units_per_metre": Option(1, "disparity in pixels"), "distance": Option("disparity", "as said")}
    first, texts = files[0], {_calibration(folder) for folder in dict.fromkeys(path.parent for path in files)}
    if len(texts) > 1:
        raise SourceError(
            f"{first} and others are disparity, and their folders have {len(texts)} calibrations: a source has one. "
            "Begin each scene by itself, images=SCENE labels=SCENE"
        )
    calibration, text = first.parent / "calib.txt", texts.pop()
    numbers = {name: float(value) for name, value in _CALIBRATION.findall(text)}
    if {"cam0", "baseline"} <= numbers.keys():
        why = f"of {calibration.name} beside it"
        return {
            "units_per_metre": Option(1, "disparity in pixels"),
            "distance": Option("disparity", "PFM beside a calib.txt, as Middlebury's"),
            "focal_px": Option(numbers["cam0"], why),
            "baseline_m": Option(numbers["baseline"] / 1000, "the file says millimetres"),
            "doffs_px": Option(numbers.get("doffs", 0.0), "difference of the two cameras' principal points"),
        }
    raise SourceError(
        f"{first} is disparity by its name, and no calib.txt lies beside it: without calibration it is no depth in "
        "metres. Say source.distance=disparity source.focal_px=PIXELS source.baseline_m=METRES source.doffs_px=PIXELS; "
        "or, if it holds depth, source.units_per_metre=1"
    )


def _calibration(folder: Path) -> str:
    try:
        return (folder / "calib.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _rotated(numbers: Sequence[np.ndarray]) -> str:
    if any(values.dtype != np.uint16 for values in numbers):
        return ""
    used = np.concatenate([values[values > 0] for values in numbers])
    if not used.size or np.mean(used & _UNUSED_BITS == 0) < 0.9:
        return ""
    turned = np.concatenate([rotated(values, "")[values > 0] for values in numbers])
    median = float(np.median(turned)) / 1000
    return (
        f"; with SUN RGB-D's bits {median:.3f} m, and nearly all numbers are multiples of 8, as there: "
        "source.bits=sun_rgbd source.units_per_metre=1000"
    )


def _medians(numbers: Sequence[np.ndarray]) -> dict[str, float]:
    measured = np.concatenate([values[np.isfinite(values) & (values > 0)][::7] for values in numbers])
    if not measured.size:
        raise SourceError(f"no number of {len(numbers)} depth files is above 0: nothing is measured")
    median = float(np.median(measured.astype(np.float64)))
    return {name: median / units for name, units in UNITS.items()}


def _metres(numbers: Sequence[np.ndarray], meaning: Meaning) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        return [meaning.unlimited(values, "depth") for values in numbers]
    except Reject as reject:
        raise SourceError(str(reject)) from reject


def _numbers(paths: Sequence[Path], key: str) -> list[np.ndarray]:
    numbers, rejects = [], []
    for path in paths:
        try:
            numbers.append(read_depth(path, key))
        except Reject as reject:
            rejects.append(str(reject))
    if not numbers:
        raise SourceError(f"none of {len(paths)} depth files can be read. The first: {rejects[0]}")
    return numbers


def _sizes(places: Places, names: Names, numbers: Sequence[np.ndarray], train: str) -> dict[str, Option]:
    images = places.folders.get(train, next(iter(places.folders.values())))[0]
    (h, w), (height, width) = size_of_pictures(images, names), numbers[0].shape
    if (h, w) == (height, width) or not h:
        return {}
    why = f"pictures are {h} x {w}, depth {height} x {width}: they are made as small, and no distance is invented"
    return {"resize": Option("picture", why)}
