"""How far a long piece of work is, in words: done of total, rate, time left.

Owns the wording and how often something is said; where it is printed, the caller decides. A terminal gets one moving
line instead (tqdm's), a file or a job's log the plain ones. It lies here because both sides report alike and know each
other only through this package.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

EVERY_S = 10.0


def duration(seconds: float) -> str:
    """A time for people: `45 s`, `3 min 20 s`, `2 h 05 min`, `4 d 03 h`."""
    whole = math.ceil(seconds)
    for limit, large, small, of in ((3600, 60, 1, ("min", "s")), (86400, 3600, 60, ("h", "min"))):
        if 60 <= whole < limit:
            return f"{whole // large} {of[0]} {whole % large // small:02d} {of[1]}"
    return f"{whole} s" if whole < 60 else f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


@dataclass
class Progress:
    """Made when the work starts.

    Attributes:
        total: how much there is to do.
        unit: of what, in the plural.
        every_s: how long `due` stays silent between two reports.
        clock: seconds, for tests.
    """

    total: int
    unit: str
    every_s: float = EVERY_S
    clock: Callable[[], float] = time.monotonic
    _started_s: float = field(init=False)
    _said_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_s = self._said_s = self.clock()

    def text(self, done: int) -> str:
        """`120/400 records, 3.2 records/s, 1 min 28 s left`; without what cannot be known yet, or no longer matters."""
        parts = [f"{done}/{self.total} {self.unit}"]
        elapsed_s = self.clock() - self._started_s
        if done > 0 and elapsed_s > 0:
            rate = done / elapsed_s
            parts.append(f"{rate:{'.3g' if rate < 100 else ',.0f'}} {self.unit}/s")
        left_s = self.left_s(done)
        if left_s is not None:
            parts.append(f"{duration(left_s)} left")
        return ", ".join(parts)

    def left_s(self, done: int) -> float | None:
        """Seconds until all is done at the mean rate so far; None before anything is done, and at the end."""
        elapsed_s = self.clock() - self._started_s
        if not 0 < done < self.total or elapsed_s <= 0:
            return None
        return elapsed_s * (self.total - done) / done

    def due(self, done: int) -> str:
        """`text` if the last report is long enough ago, else nothing; a short piece of work reports nothing at all."""
        if self.clock() - self._said_s < self.every_s:
            return ""
        self._said_s = self.clock()
        return self.text(done)


def reports(tag: str, unit: str, say: Callable[[str], None] | None = None) -> Callable[[int, int], None]:
    """A function of (done, total) for work that reports itself: says `tag` and how far it is, every few seconds.

    Time counts from here on. By default lines are printed, and on a terminal a bar is drawn, once a second has passed;
    a light installation, which has no tqdm, has the lines there, too.
    """
    if say is None and sys.stdout.isatty() and find_spec("tqdm"):
        return _bar(tag, unit)
    work = Progress(0, unit)

    def report(done: int, total: int) -> None:
        work.total = total
        if text := work.due(done):
            (say or _print)(f"{tag} {text}")

    return report


def _bar(tag: str, unit: str) -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc=tag, unit=f" {unit}", file=sys.stdout, delay=1, dynamic_ncols=True)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return report


def _print(text: str) -> None:
    print(text, flush=True)
