"""A file that several processes may replace: one of them does, and it is there, whole, at every moment."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

from shards.storage.atomic import create_atomic, replace_atomic

ROUNDS, PROCESSES = 40, 3


def _count_up(target: Path, done: Path) -> None:
    """Add one to the number in a file so many times, and write down each that it was who added."""
    mine = []
    while len(mine) < ROUNDS:
        before = target.read_bytes()
        if replace_atomic(target, before, str(int(before) + 1).encode()):
            mine.append(int(before) + 1)
    done.write_text(" ".join(map(str, mine)))


def test_of_several_processes_one_replaces_it(tmp_path: Path) -> None:
    target, spawn = tmp_path / "number", multiprocessing.get_context("fork")
    target.write_bytes(b"0")
    others = [spawn.Process(target=_count_up, args=(target, tmp_path / f"done{n}")) for n in range(PROCESSES)]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert target.read_bytes() == str(ROUNDS * PROCESSES).encode()
    added = [int(word) for n in range(PROCESSES) for word in (tmp_path / f"done{n}").read_text().split()]
    assert sorted(added) == list(range(1, ROUNDS * PROCESSES + 1))
    assert not list(tmp_path.glob(".*"))


def test_nobody_can_take_the_name_while_it_is_replaced(tmp_path: Path) -> None:
    target, over, taken = tmp_path / "lease", threading.Event(), []

    def take() -> None:
        while not over.is_set():
            if create_atomic(target, b"another's"):
                taken.append(target.read_bytes())

    target.write_bytes(b"0")
    thread = threading.Thread(target=take)
    thread.start()
    for number in range(60):
        assert replace_atomic(target, str(number).encode(), str(number + 1).encode())
    over.set()
    thread.join()
    assert taken == []
    assert not replace_atomic(target, b"0", b"1")
    os.unlink(target)
    assert not replace_atomic(target, b"60", b"61")
