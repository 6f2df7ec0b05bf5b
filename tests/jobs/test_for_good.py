"""What a job keeps is not looked through again; what comes after it is, as ever."""

from __future__ import annotations

import gc
import weakref

import pytest

from jobs.for_good import for_good


class Knot:
    """Garbage for the collector alone: it holds itself."""

    def __init__(self) -> None:
        self.self = self


def test_the_collector_looks_at_what_came_later_alone() -> None:
    before = gc.get_freeze_count()
    try:
        with for_good():
            assert not gc.isenabled()
            kept = [[number] for number in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= before + len(kept)
        assert not any(one is kept for one in gc.get_objects())
        later = weakref.ref(Knot())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()


def test_what_fails_keeps_nothing() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(OSError, match="no weights"), for_good():
        raise OSError("no weights")
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
