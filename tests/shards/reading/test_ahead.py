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
    never = threads.do(lambda: done.append("second"))
    begun.wait(30)
    threading.Timer(0.05, go_on.set).start()
    threads.close()
    assert done == ["first"]
    assert alive() == before
    with pytest.raises(RuntimeError, match="closed while somebody waited"):  # who waits in another thread, too
        never.result()
    with pytest.raises(RuntimeError, match="closed while its next batch"):
        threads.do(lambda: None)


def test_threads_end_with_whoever_holds_them() -> None:
    before = alive()
    threads = ReadingThreads(2)
    assert threads.do(lambda: 7).result() == 7
    own = threads._threads
    assert len(alive()) == len(before) + 2
    del threads
    gc.collect()
    for thread in own:
        thread.join(30)
    assert alive() == before


def test_the_collector_waits_for_no_thread() -> None:
    """It may run under a lock that a job of the collected stream wants."""
    lock, begun, out = threading.Lock(), threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        with lock:
            pass

    def collect_under_the_lock() -> None:
        threads = ReadingThreads(1)
        circle: list[object] = [threads]
        circle.append(circle)
        with lock:
            threads.do(job)
            begun.wait(30)
            del threads, circle
            gc.collect()
        out.set()

    threading.Thread(target=collect_under_the_lock, daemon=True).start()
    assert out.wait(30)
