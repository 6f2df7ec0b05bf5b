"""SIGTERM, which schedulers send before they take a machine away: a run saves and ends in order.

Owns the signal. How it reaches the workers of a cluster, who are other processes, is `vpd.training.end_request`'s.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TERMINATED = 128 + signal.SIGTERM  # what a shell says of a process that the signal ended


@contextmanager
def on_sigterm(then: Callable[[], object] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Inside, the first SIGTERM is noted instead of obeyed, and a second one ends the process as ever.

    Args:
        then: done at the first, in a thread.

    Yields:
        Whether there was one.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers: a notebook's helper
        yield asked.is_set
        return

    def note(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGTERM, before)
        sys.stderr.write("asked to end (SIGTERM): saving after this step, or after the evaluation that runs\n")
        threading.Thread(target=then, name="end request").start()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
