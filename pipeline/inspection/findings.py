"""What a person must know of a split: lines of what is there, warnings, and what a build would refuse.

Owns the words and the limits of warnings. What a build refuses is decided by what it uses itself: the source's notices,
and `pipeline.building.losses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.building.losses import refuse_losses
from pipeline.files.label_png import IGNORE
from pipeline.inspection.tally import Tally
from shards.errors import SourceError

MANY_IGNORED = 0.5
LITTLE_MEASURED = 0.05
PERCENTILES = (1, 25, 50, 75, 99)
_NAMED = 8  # classes of a line


@dataclass
class Findings:
    """Of one split."""

    tally: Tally
    names: Sequence[str] = ()  # of the classes
    notices: list[str] = field(default_factory=list)  # what the source says itself
    warnings: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # what ends a build

    @property
    def split(self) -> str:
        return self.tally.split

    def judge(self, max_rejects: float) -> None:
        """Add the warnings, and what a build would refuse of what it reads."""
        tally = self.tally
        self.warnings += [*_warnings(tally, self.names)]
        if tally.fatal:
            first = tally.fatal[0]
            self.refusals.append(f"{len(tally.fatal)} pictures end a build. The first, {first.key}: {first.reason}")
        if tally.seen:
            try:
                refuse_losses(tally.rejects, tally.entries, tally.seen, tally.items, self.split, max_rejects)
            except SourceError as error:
                self.refusals.append(str(error))

    def lines(self) -> Iterator[str]:
        """What is there."""
        yield from _lines(self.tally, self.names)


def class_shares(tally: Tally, names: Sequence[str]) -> list[tuple[int, str, float, int]]:
    """(value, name, share of all pixels, pictures) of every class; those never seen have 0."""
    total = max(int(tally.class_pixels.sum()), 1)
    values = range(len(names)) if names else np.flatnonzero(tally.class_pixels[:IGNORE]).tolist()
    return [
        (k, names[k] if names else f"value {k}", float(tally.class_pixels[k] / total), int(tally.class_pictures[k]))
        for k in values
    ]


def depth_percentiles_m(tally: Tally) -> list[float]:
    """At `PERCENTILES`, of some measured pixels of every picture; nothing if there is none."""
    sample_m = np.concatenate(tally.depth_sample_m) if tally.depth_sample_m else np.empty(0)
    return [float(value) for value in np.percentile(sample_m, PERCENTILES)] if sample_m.size else []


def _lines(tally: Tally, names: Sequence[str]) -> Iterator[str]:
    yield f"{tally.seen} pictures looked at, {tally.pictures} can be used, {len(tally.rejects)} cannot"
    if tally.sizes_px:
        common = ", ".join(f"{h} x {w} ({n})" for (h, w), n in tally.sizes_px.most_common(3))
        more = f" and {len(tally.sizes_px) - 3} other sizes" if len(tally.sizes_px) > 3 else ""
        yield f"sizes, height x width: {common}{more}; {tally.pictures - tally.grey} in colour, {tally.grey} in grey"
    if tally.class_pixels.any():
        shares = sorted(class_shares(tally, names), key=lambda row: -row[2])
        shown = ", ".join(f"{name} {share:.1%}" for _, name, share, pictures in shares[:_NAMED] if pictures)
        yield f"labels: {shown or 'no class'}; ignored {_ignored(tally):.1%} of the pixels"
    if tally.depth_pixels:
        at = zip(PERCENTILES, depth_percentiles_m(tally), strict=False)
        percentiles = ", ".join(f"{percent} % {metres:.3f}" for percent, metres in at)
        invalid = 1 - tally.depth_measured / tally.depth_pixels
        yield f"depth in metres: {percentiles}; {invalid:.1%} of the pixels without a measurement"
    if tally.boxes:
        yield f"{tally.boxes} boxes"
    if tally.sentences:
        lengths = np.repeat(list(tally.words), list(tally.words.values()))
        low, median, high = np.percentile(lengths, (0, 50, 100))
        cut = "cut sentences cannot be counted, no tokenizer is at hand"
        if tally.cut_counter is not None:
            cut = f"{tally.cut} cut at the token limit (text.length)"
        yield f"{tally.sentences} sentences of {low:.0f} to {high:.0f} words, median {median:.0f}; {cut}"
    if tally.targets:
        yield f"{tally.targets} refs, {tally.no_targets} of them without a target"


def _warnings(tally: Tally, names: Sequence[str]) -> Iterator[str]:
    if tally.rejects:
        first = tally.rejects[0]
        yield f"{len(tally.rejects)} pictures cannot be used. The first, {first.key}: {first.reason}"
    if tally.entries:
        first = tally.entries[0]
        yield f"{len(tally.entries)} entries of usable pictures are left out. The first, {first.key}: {first.reason}"
    if tally.doubles:
        key, earlier = tally.doubles[0]
        yield f"{len(tally.doubles)} pictures are here twice. The first: {key}, as {earlier}"
    if tally.class_pixels.any():
        yield from _class_warnings(tally, names)
    if tally.depth_pixels and tally.depth_measured < LITTLE_MEASURED * tally.depth_pixels:
        yield f"only {tally.depth_measured / tally.depth_pixels:.1%} of the pixels have a measurement"
    if tally.words[0]:
        yield f"{tally.words[0]} sentences are empty"
    if tally.cut:
        yield f"{tally.cut} of {tally.sentences} sentences are longer than text.length and will be cut"


def _class_warnings(tally: Tally, names: Sequence[str]) -> Iterator[str]:
    absent = [name for _, name, _, pictures in class_shares(tally, names) if not pictures]
    if absent:
        more = ", ..." if len(absent) > _NAMED else ""
        yield f"{len(absent)} of {len(names)} classes are never seen: {', '.join(absent[:_NAMED])}{more}"
    if _ignored(tally) > MANY_IGNORED:
        yield f"{_ignored(tally):.1%} of the pixels are ignored; is that meant?"
    if np.count_nonzero(tally.class_pixels[:IGNORE]) == 1 and tally.class_pixels[IGNORE]:
        yield "only one class occurs and all else is ignored: a model would be told that it is right everywhere"


def _ignored(tally: Tally) -> float:
    return float(tally.class_pixels[IGNORE] / max(tally.class_pixels.sum(), 1))
