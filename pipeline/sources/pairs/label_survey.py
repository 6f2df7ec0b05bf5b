"""Looks at some labels of a split before anything is encoded: can they be what was declared?

Owns the sample, the counts and the verdict. A few files are read; where they look impossible, all are, so that nothing
is refused for a rare class that the sample missed. The lines are printed by the build, above its plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.files.label_png import IGNORE
from pipeline.files.readable import Readable
from pipeline.sources.pairs.matching import Folders, Listing, Pair
from shards.errors import Reject, SourceError

SAMPLE = 24  # files: a quarter of a second, or a few of a network disk
MANY = 0.5  # share of ignored pixels that is said aloud


@dataclass
class _Seen:
    """What was found in label files so far."""

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(IGNORE + 1, np.int64))  # of each class, and IGNORE
    files: int = 0
    rejects: list[str] = field(default_factory=list)

    @property
    def classes(self) -> int:
        return int(np.count_nonzero(self.pixels[:IGNORE]))

    @property
    def ignored(self) -> float:
        return float(self.pixels[IGNORE] / max(self.pixels.sum(), 1))


def survey(
    split: str,
    listing: Listing,
    folders: Folders,
    names: Sequence[str],
    read: Callable[[Readable], np.ndarray],
    caution: str = "",
) -> list[str]:
    """Lines for a person.

    Args:
        names: of the classes.
        read: a label file as classes and IGNORE, or a Reject.
        caution: what to declare if the ignored values were only assumed; ends the message.

    Raises:
        SourceError: not one label can be read; or all pixels are ignored, or all but those of one class, in every file.
    """
    labelled = [pair for pair in listing.pairs.values() if pair.label is not None]
    seen = _look(_spread(labelled, SAMPLE), read)
    if seen.files and _impossible(seen, names):
        seen = _look(labelled, read)
    if not seen.files:
        raise SourceError(
            f"split {split}: none of {len(seen.rejects)} labels can be read. The first: {seen.rejects[0]}"
        )
    if _impossible(seen, names):
        raise SourceError(f"split {split}: {_verdict(seen, names, folders.labels)}. {caution or _DECLARE}")
    return [*_unpaired(split, listing, folders), *_lines(split, seen, names, len(labelled))]


_DECLARE = "Declare what the values mean: values: {VALUE: NAME, ...}, and ignore_values for those that are no class"


def _impossible(seen: _Seen, names: Sequence[str]) -> bool:
    """Whether nothing can be learnt: no class, or one of several while the rest of the pixels is ignored."""
    return seen.classes == 0 or (seen.classes == 1 < len(names) and seen.pixels[IGNORE] > 0)


def _verdict(seen: _Seen, names: Sequence[str], folder: Path) -> str:
    if seen.classes == 0:
        return f"every pixel of all {seen.files} labels in {folder} is ignored"
    only = names[int(np.flatnonzero(seen.pixels[:IGNORE])[0])]
    return (
        f"of {len(names)} classes only {only!r} occurs in all {seen.files} labels in {folder}, and {seen.ignored:.1%} "
        "of the pixels are ignored: a model would be told that it is right everywhere"
    )


def _look(pairs: Iterable[Pair], read: Callable[[Readable], np.ndarray]) -> _Seen:
    seen = _Seen()
    for pair in pairs:
        try:
            assert pair.label is not None
            seen.pixels += np.bincount(read(pair.label).reshape(-1), minlength=IGNORE + 1)
            seen.files += 1
        except Reject as reject:
            seen.rejects.append(str(reject))
    return seen


def _spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Some pairs at equal distances."""
    step = max(len(pairs) / count, 1.0)
    return [pairs[int(place * step)] for place in range(min(count, len(pairs)))]


def _unpaired(split: str, listing: Listing, folders: Folders) -> list[str]:
    without = [sum(part(pair) for pair in listing.pairs.values()) for part in (_no_label, _no_image)]
    said = zip(without, (f"pictures have no {folders.kind}", f"{folders.kind}s have no picture"), strict=True)
    return [f"{split}: {count} {what}, and will be rejects" for count, what in said if count]


def _no_label(pair: Pair) -> bool:
    return pair.label is None


def _no_image(pair: Pair) -> bool:
    return pair.image is None and pair.label is not None


def _lines(split: str, seen: _Seen, names: Sequence[str], labelled: int) -> list[str]:
    shares = seen.pixels[: len(names)] / max(seen.pixels.sum(), 1)
    most = np.argsort(-shares, kind="stable")[:5]
    found = ", ".join(f"{names[k]} {shares[k]:.1%}" for k in most if shares[k])
    lines = [f"{split}: {seen.files} of {labelled} labels looked at: {found}; ignored {seen.ignored:.1%}"]
    absent = [name for name, pixels in zip(names, seen.pixels, strict=False) if not pixels]
    if absent:
        shown = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
        lines.append(f"{split}: {len(absent)} of {len(names)} classes not seen in them: {shown}")
    if seen.ignored > MANY:
        lines.append(f"{split}: more than half of the pixels are ignored; is that meant?")
    if seen.rejects:
        lines.append(f"{split}: {len(seen.rejects)} of them cannot be used. The first: {seen.rejects[0]}")
    return lines
