"""Processor time and memory of this process and of all that it started, their own children included."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family() -> list[int]:
    """This process and all that it started, and those that they did."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [os.getpid()]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_s() -> float:
    """Processor seconds of all of them, those that have ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in family()[1:]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / _TICKS
    return total


def memory_mb() -> float:
    """What belongs to them alone: anonymous and shared memory."""
    total = 0
    for pid in family():
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return total / 1024


class Watch:
    """The most memory, looked at every so often."""

    def __init__(self) -> None:
        self.most, self._ended = memory_mb(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.most = max(self.most, memory_mb())

    def end(self) -> float:
        """Stop looking."""
        self._ended.set()
        self._thread.join()
        return self.most
