"""Rows of many owners through a function in full batches; the owners come out whole and in order.

Owns the bookkeeping that evaluation and prediction share: the windows of a picture and the sentences of a record are
packed across records, whether a frozen encoder or the model is shown them. What an owner is, and what the function does
with a batch, is the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - outputs


@dataclass
class _Owner(Generic[T, O]):
    owner: T
    rows: int = 0
    read: bool = False  # all of its rows have been asked for
    outputs: list[O] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.read and len(self.outputs) == self.rows


def packed(
    owners: Iterable[tuple[T, Iterable[R]]],
    size: int,
    run: Callable[[list[R]], Iterable[O]],
    alike: Callable[[R], Hashable] = lambda row: None,
) -> Iterator[tuple[T, list[O]]]:
    """Every owner with the outputs of its rows, in the order of both.

    Args:
        owners: each with its rows, which are asked for one by one; one without rows comes out in its turn.
        size: rows of a batch; every batch but the last, or one before a row of another kind, has exactly so many.
        run: outputs of a batch, one for each row.
        alike: what rows of one batch have in common.
    """
    queue: deque[_Owner[T, O]] = deque()
    waiting: list[tuple[_Owner[T, O], R]] = []

    def flush() -> None:
        outputs = run([row for _, row in waiting])
        for (one, _), output in zip(waiting, outputs, strict=True):
            one.outputs.append(output)
        waiting.clear()

    def finished() -> Iterator[tuple[T, list[O]]]:
        while queue and queue[0].complete:
            done = queue.popleft()
            yield done.owner, done.outputs

    for owner, rows in owners:
        one: _Owner[T, O] = _Owner(owner)
        queue.append(one)
        for row in rows:
            if waiting and alike(row) != alike(waiting[0][1]):
                flush()
            one.rows += 1
            waiting.append((one, row))
            if len(waiting) == size:
                flush()
                yield from finished()
        one.read = True
        yield from finished()
    if waiting:
        flush()
    yield from finished()


def rows_of(arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The samples of arrays `[N, ...]`, one by one, without a copy."""
    count = len(next(iter(arrays.values())))
    return ({name: array[number] for name, array in arrays.items()} for number in range(count))


def kind_of(row: Mapping[str, np.ndarray]) -> Hashable:
    """What samples of one batch have in common: the shapes of their arrays, and the sizes in pixels they state."""
    return tuple((name, value.shape, value.tobytes() if name.endswith("_px") else b"") for name, value in row.items())


def read_ahead(items: Iterable[T], read: Callable[[T], R], ahead: int, threads: int = 1) -> Iterator[R]:
    """`read` of every item in order, by threads that are up to `ahead` items ahead; one of their own takes the items.

    Where taking or reading one raises, that comes in its turn. Whoever stops early waits for what is being taken and
    read at that moment, and for nothing more.
    """
    rest = iter(items)
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="read-ahead") as readers,
        ThreadPoolExecutor(1, thread_name_prefix="take-ahead") as taker,
    ):

        def following() -> Future[R] | None:
            for item in rest:
                return readers.submit(read, item)
            return None

        futures = deque(taker.submit(following) for _ in range(ahead))
        try:
            while found := futures.popleft().result():
                yield found.result()
                futures.append(taker.submit(following))
        finally:
            for pool in (taker, readers):
                pool.shutdown(wait=False, cancel_futures=True)
