"""Work done ahead of its consumer, in threads, without changing the order of anything.

Both functions are generators: nothing starts before the first value is asked for, an exception raised in a thread
comes out where its value would have, and closing the generator (also by an exception) ends the threads behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
_END = object()


def map_ahead(
    function: Callable[[In], Out], values: Iterable[In], threads: int, ahead: int
) -> Generator[Out, None, None]:
    """`function` of every value, in order, computed by `threads` threads, at most `ahead` values early."""
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(threads, "decode") as pool:
        try:
            for value in values:
                pending.append(pool.submit(function, value))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def in_thread(values: Generator[In, None, None], ahead: int, name: str) -> Generator[In, None, None]:
    """The same values in the same order, produced by one thread of their own, at most `ahead` values early."""
    with ThreadPoolExecutor(1, name) as worker:
        pending: deque[Future[Any]] = deque(worker.submit(next, values, _END) for _ in range(ahead))
        try:
            while (value := pending.popleft().result()) is not _END:
                pending.append(worker.submit(next, values, _END))
                yield value
        finally:
            for future in pending:
                future.cancel()
            worker.submit(values.close)  # on its own thread, after what that is doing now
