"""What Python's collector looks through while a run trains.

Owns that it leaves alone what was there before: modules, classes and weights, several hundred thousand objects that a
full collection would visit in the midst of a step, for as long as a small step takes
(docs/methods/performance.md#the-published-step). What steps make is collected as ever, so nothing of theirs is held.
A program that has frozen its own objects has seen to that itself, and is left as it is: Python keeps one such heap, and
could not give back a part of it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def old_objects_apart() -> Iterator[None]:
    """What exists is not visited by collections meanwhile."""
    if gc.get_freeze_count():
        yield
        return
    gc.collect()  # what is garbage already would be kept
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
