"""The threads of a stream: results in their jobs, errors where they are asked for, and an end in every way."""

from __future__ import annotations

import gc
import threading

import pytest

from shards.reading.ahead import ReadingThreads


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shard-read")]


def test_jobs_are_done_with_their_results_and_errors() -> None:
    threads = ReadingThreads(2)
    jobs = [threads.do(lambda number=number: 1 / number) for number in (1, 2, 0, 4)]
    assert [jobs[number].result() for number in (3, 1, 0, 0)] == [0.25, 0.5, 1.0, 1.0]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            jobs[2].result()
    threads.close()
    threads.close()


def test_closing_waits_for_what_is_begun_and_forgets_the_rest() -> None:
    before, begun, go_on, done = alive(), threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        go_on.wait(30)
        done.append("first")

    threads = ReadingThreads(1)
    threads.do(first)
    threads.do(lambda: done.append("second"))
    begun.wait(30)
    threading.Timer(0.05, go_on.set).start()
    threads.close()
    assert done == ["first"]
    assert alive() == before


def test_threads_end_with_whoever_holds_them() -> None:
    before = alive()
    threads = ReadingThreads(2)
    assert threads.do(lambda: 7).result() == 7
    assert len(alive()) == len(before) + 2
    del threads
    gc.collect()
    assert alive() == before
