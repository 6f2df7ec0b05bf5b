"""Calls that a thread makes one after another, so that whoever asks for them need not wait.

The first that fails is the last: what is asked afterwards is refused with its error. What they do is left to who asks.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

MOST_WAITING = 10_000


class Behind:
    """The thread ends with the process, whatever it is at.

    Args:
        name: of the thread.
        most_waiting: calls; one more is refused, so that a stream which takes too little fills no memory.
    """

    def __init__(self, name: str, most_waiting: int = MOST_WAITING) -> None:
        self._waiting: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue(most_waiting)
        self._error: Exception | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def ask(self, what: Callable[[], Any]) -> Future[Any]:
        """Have a call made after those asked for before.

        Raises:
            Exception: of the earlier call that failed.
            BufferError: too many wait.
        """
        self._check()
        done: Future[Any] = Future()
        try:
            self._waiting.put_nowait((done, what))
        except queue.Full:
            raise BufferError(f"{self._waiting.maxsize} calls wait for the first of them") from None
        self._check()  # it may have failed meanwhile, and then nobody takes this one
        return done

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while self._error is None:
            done, what = self._waiting.get()
            try:
                done.set_result(what())
            except Exception as error:
                self._error = error
                done.set_exception(error)
        while not self._waiting.empty():
            self._waiting.get()[0].set_exception(self._error)
