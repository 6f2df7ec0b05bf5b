"""Looks at some depth files of a split before anything is encoded: can the declared unit be right?

No file says its unit. A wrong one is caught where it can be: the median under the declaration must lie in the declared
range, and if it does not, the message holds the median under every unit in use, so that the right one is one look away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.files.readable import Readable
from pipeline.sources.depth_folders.meaning import WHERE, Meaning
from pipeline.sources.pairs.matching import Folders, Listing
from shards.errors import Reject, SourceError

SAMPLE = 16  # files
PIXELS = 20_000  # of each
UNITS = {"metres": 1, "centimetres": 100, "1/256 m": 256, "millimetres": 1000, "1/4000 m": 4000, "1/5000 m": 5000}
LITTLE = 0.05  # share of measured pixels that is said aloud


def survey(
    split: str, listing: Listing, folders: Folders, meaning: Meaning, read: Callable[[Readable], np.ndarray]
) -> list[str]:
    """Lines for a person.

    Args:
        read: a file's numbers, [H, W]; a Reject where it is no depth.

    Raises:
        SourceError: not one file can be read or holds a measurement, or the median is outside the declared range.
    """
    paths = [pair.label for pair in listing.pairs.values() if pair.label is not None]
    if not paths:
        raise SourceError(f"split {split}: no picture of {len(listing.pairs)} has its depth file in {folders.labels}")
    step = max(len(paths) / SAMPLE, 1.0)
    chosen = [paths[int(place * step)] for place in range(min(SAMPLE, len(paths)))]
    numbers, rejects = _numbers(chosen, read)
    if not numbers:
        raise SourceError(f"split {split}: none of {len(chosen)} depth files can be read. The first: {rejects[0]}")
    try:
        measured = _joined(numbers, meaning)
    except Reject as reject:
        raise SourceError(f"split {split}: {reject}") from reject
    if not measured.size:
        raise SourceError(f"split {split}: no pixel of {len(numbers)} files in {folders.labels} is a measurement")
    low, median, high = np.percentile(measured, (1, 50, 99))
    if not meaning.min_depth_m <= median <= meaning.max_depth_m:
        raise SourceError(
            f"split {split}: read with units_per_metre {meaning.units_per_metre:g}, the median depth of {len(numbers)} "
            f"files in {folders.labels} is {median:.4g} m, outside the declared {meaning.min_depth_m:g} to "
            f"{meaning.max_depth_m:g} m. {_candidates(numbers, meaning)}. Set units_per_metre, or max_depth_m"
        )
    total = sum(values.size for values in numbers)
    share = sum(int(meaning.unlimited(values, WHERE)[1].sum()) for values in numbers) / total
    over = float(np.mean(measured > meaning.max_depth_m))
    lines = [
        f"{split}: {len(numbers)} of {len(paths)} depth files looked at: {share:.1%} of pixels measured, "
        f"1 % {low:.3f}, median {median:.3f}, 99 % {high:.3f} m"
    ]
    if share < LITTLE:
        lines.append(f"{split}: very few pixels are measured; is {list(meaning.invalid)} what stands for none?")
    lines += [f"{split}: {count:,} of {total:,} numbers are {what}" for what, count in _odd(numbers) if count]
    if over > 0.01:
        lines.append(f"{split}: {over:.1%} of the measurements are beyond max_depth_m and will be left out")
    without = sum(pair.label is None for pair in listing.pairs.values())
    if without:
        lines.append(f"{split}: {without} pictures have no depth, and will be rejects")
    if rejects:
        lines.append(f"{split}: {len(rejects)} files cannot be used. The first: {rejects[0]}")
    return lines


def _numbers(paths: Sequence[Readable], read: Callable[[Readable], np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """The numbers of every file, and what was refused."""
    numbers, rejects = [], []
    for path in paths:
        try:
            numbers.append(read(path))
        except Reject as reject:
            rejects.append(str(reject))
    return numbers, rejects


def _joined(numbers: Sequence[np.ndarray], meaning: Meaning, units_per_metre: float = 0.0) -> np.ndarray:
    """Measured depth in metres [n], some of every file."""
    parts = []
    for values in numbers:
        depth_m, valid = meaning.unlimited(values, WHERE, units_per_metre)
        measured = depth_m[valid]
        parts.append(measured[:: max(len(measured) // PIXELS, 1)])
    return np.concatenate(parts)


def _candidates(numbers: Sequence[np.ndarray], meaning: Meaning) -> str:
    found = []
    for name, units in UNITS.items():
        median = float(np.median(_joined(numbers, meaning, units)))
        fits = " (inside)" if meaning.min_depth_m <= median <= meaning.max_depth_m else ""
        found.append(f"{name} {median:.4g}{fits}")
    return f"In other units: {', '.join(found)}"


def _odd(numbers: Sequence[np.ndarray]) -> list[tuple[str, int]]:
    floats = [values for values in numbers if values.dtype.kind == "f"]
    whole = [values for values in numbers if values.dtype.kind in "iu"]
    return [
        ("NaN", sum(int(np.isnan(values).sum()) for values in floats)),
        ("infinite", sum(int(np.isinf(values).sum()) for values in floats)),
        ("negative", sum(int((values < 0).sum()) for values in numbers)),
        ("65535, the end of 16 bits", sum(int((values == 65535).sum()) for values in whole)),
    ]
