"""Looks of a split, counted as they come: memory grows with pictures by a hash, a size and some numbers each.

Owns what is counted. What of it a person must know, `findings` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.building.ledger import Rejected
from pipeline.inspection.drawing import Drawing
from pipeline.inspection.labels import VALUES, Classes
from pipeline.inspection.look import Fatal, Look

DRAWN = 12  # pictures of a split that are drawn: the first that can be used
CutCounter = Callable[[Sequence[str]], int]


def _zeros() -> np.ndarray:
    return np.zeros(VALUES, np.int64)


@dataclass
class Tally:
    """What was found in a split so far."""

    split: str
    cut_counter: CutCounter | None = None  # how many of some sentences have more tokens than are stored
    pictures: int = 0  # that can be used
    items: int = 0
    boxes: int = 0
    grey: int = 0
    sizes_px: Counter[tuple[int, int]] = field(default_factory=Counter)
    rejects: list[Rejected] = field(default_factory=list)  # pictures
    entries: list[Rejected] = field(default_factory=list)  # of pictures that can be used
    fatal: list[Fatal] = field(default_factory=list)
    class_pixels: np.ndarray = field(default_factory=_zeros)  # int64 [256], by label value
    class_pictures: np.ndarray = field(default_factory=_zeros)
    depth_sample_m: list[np.ndarray] = field(default_factory=list)
    depth_pixels: int = 0
    depth_measured: int = 0
    words: Counter[int] = field(default_factory=Counter)  # sentences by their number of words
    cut: int = 0
    targets: int = 0
    no_targets: int = 0
    first_with: dict[str, str] = field(default_factory=dict)  # hash of pixels -> first key that has it
    doubles: list[tuple[str, str]] = field(default_factory=list)  # (key, an earlier key with the same picture)
    drawings: list[Drawing] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """Pictures looked at."""
        return self.pictures + len(self.rejects) + len(self.fatal)

    @property
    def sentences(self) -> int:
        return self.words.total()

    def add(self, looked: Look | Rejected | Fatal) -> None:
        """Count one."""
        if isinstance(looked, Rejected):
            self.rejects.append(looked)
        elif isinstance(looked, Fatal):
            self.fatal.append(looked)
        else:
            self._add_look(looked)

    def _add_look(self, look: Look) -> None:
        self.pictures += 1
        self.items += look.items
        self.boxes += look.boxes
        self.grey += look.grey
        self.sizes_px[look.size_px] += 1
        self.entries += [Rejected(look.key, why, whole=False) for why in look.left_out]
        earlier = self.first_with.setdefault(look.pixels_sha256, look.key)
        if earlier != look.key:
            self.doubles.append((look.key, earlier))
        for label in look.labels:
            if isinstance(label, Classes):
                self.class_pixels += label.pixels
                self.class_pictures += label.pixels > 0
            else:
                self.depth_pixels += label.map_m.size
                self.depth_measured += label.measured
                self.depth_sample_m.append(label.sample_m)
        self.words.update(len(sentence.split()) for sentence in look.sentences)
        if self.cut_counter is not None and look.sentences:
            self.cut += self.cut_counter(look.sentences)
        self.targets += len(look.targets_px)
        self.no_targets += sum(not area_px for area_px in look.targets_px)
        if look.drawing is not None and len(self.drawings) < DRAWN:
            self.drawings.append(look.drawing)
