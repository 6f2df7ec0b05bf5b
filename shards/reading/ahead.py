"""Threads that do the jobs of a stream ahead of it, handed over by one queue and one lock each.

Owns the threads. `concurrent.futures` does the same in ten times the steps a job, which is more than planning a batch
takes. What a job is, and how many are under way, is the stream's.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """Something to be done, then its result or its error."""

    __slots__ = ("_done", "_error", "_result", "_run")

    def __init__(self, run: Callable[[], T]) -> None:
        self._run: Callable[[], T] | None = run
        self._done = Lock()
        self._done.acquire()
        self._error: BaseException | None = None

    def do(self) -> None:
        """Do it, once."""
        run, self._run = self._run, None
        assert run is not None
        try:
            self._result = run()
        except BaseException as error:  # raised where the result is asked for
            self._error = error
        finally:
            self._done.release()

    def give_up(self) -> None:
        """It is not begun and never will be: whoever waits for it is told."""
        self._run = None
        self._error = RuntimeError("the stream was closed while somebody waited for its next batch")
        self._done.release()

    def result(self) -> T:
        """What came of it, when it is done."""
        self._done.acquire()
        self._done.release()
        if self._error is not None:
            raise self._error
        return self._result


class ReadingThreads:
    """Some threads. They end with `close`, with whoever holds this, or with the process."""

    def __init__(self, threads: int) -> None:
        jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._jobs, self._lock = jobs, Lock()
        self._threads = [
            Thread(target=_work, args=(jobs,), name=f"shard-read_{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        self._end = weakref.finalize(self, _end, jobs, threads)
        self._end.atexit = False
        _OPEN.add(self)

    def do(self, run: Callable[[], T]) -> Job[T]:
        """Have something done. RuntimeError after `close`."""
        job = Job(run)
        with self._lock:  # nothing is put behind the threads' end
            if not self._end.alive:
                raise RuntimeError("the stream was closed while its next batch was planned")
            self._jobs.put(job)
        return job

    def close(self) -> None:
        """Give up what is not begun, and wait for what is."""
        with self._lock:
            self._end()
        for thread in self._threads:
            if thread is not current_thread():  # which may be the last to hold the stream
                thread.join()


_OPEN: weakref.WeakSet[ReadingThreads] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for threads in list(_OPEN):
        threads.close()


def _work(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.do()
        del job  # nothing is kept while waiting for the next


def _end(jobs: SimpleQueue[Job | None], threads: int) -> None:
    """Also called by Python's collector, in any thread and under any lock: it waits for nobody."""
    try:
        while True:
            job = jobs.get_nowait()
            if job is not None:
                job.give_up()
    except Empty:
        pass
    for _ in range(threads):
        jobs.put(None)
