"""Running ahead changes neither order nor errors, is bounded, and ends when its consumer does."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from pipeline.building.prefetch import in_thread, map_ahead


def test_map_ahead_keeps_the_order_of_its_items() -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.003 * (number % 2 == 0))
        return number * number

    assert list(map_ahead(slow_when_even, range(20), threads=4, ahead=6)) == [number**2 for number in range(20)]


def test_map_ahead_starts_no_more_than_it_may() -> None:
    started: list[int] = []
    results = map_ahead(started.append, range(100), threads=2, ahead=5)
    assert started == []
    next(results)
    next(results)
    time.sleep(0.05)
    results.close()
    assert len(started) <= 7


def test_in_thread_runs_in_one_other_thread_a_bounded_distance_ahead() -> None:
    seen: list[tuple[int, int]] = []

    def count() -> Generator[int, None, None]:
        for number in range(50):
            seen.append((number, threading.get_ident()))
            yield number

    results = in_thread(count(), ahead=3, name="count")
    assert next(results) == 0
    time.sleep(0.05)
    assert len(seen) == 4
    assert list(results) == list(range(1, 50))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_an_error_comes_out_in_its_place() -> None:
    def fail() -> Generator[int, None, None]:
        yield 1
        raise KeyError("here")

    results = in_thread(fail(), ahead=4, name="fail")
    assert next(results) == 1
    with pytest.raises(KeyError, match="here"):
        next(results)


def test_closing_ends_the_thread_and_the_generator_behind_it() -> None:
    threads = threading.active_count()
    closed: list[bool] = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    with closing(in_thread(endless(), ahead=2, name="endless")) as results:
        next(results)
    assert closed == [True]
    assert threading.active_count() == threads
