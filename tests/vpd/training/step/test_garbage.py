"""The collector leaves alone what was there before a run, and takes what the run leaves behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from vpd.training.step.garbage import old_objects_apart


class Loop:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """As in a program that trains, and not as in these tests, whose `conftest` froze what was loaded."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_old_objects_are_not_visited_and_new_garbage_is_collected() -> None:
    with old_objects_apart():
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000  # torch alone is more
        gone = weakref.ref(Loop())
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() == 0


def test_the_collector_is_as_before_after_an_error() -> None:
    with pytest.raises(KeyError), old_objects_apart():
        raise KeyError
    assert gc.get_freeze_count() == 0


def test_what_a_program_froze_itself_stays_so() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with old_objects_apart():
        gone = weakref.ref(Loop())
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() > frozen // 2
