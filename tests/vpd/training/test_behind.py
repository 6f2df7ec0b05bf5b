"""Calls by a thread of their own: in order, the first that fails is the last, and nobody waits for ever."""

from __future__ import annotations

import threading

import pytest

from vpd.training.behind import Behind


def test_calls_are_made_in_order_and_nobody_waits_for_them() -> None:
    behind, made, go_on = Behind("test"), list[int](), threading.Event()
    behind.ask(go_on.wait)
    asked = [behind.ask(lambda number=number: made.append(number)) for number in range(50)]
    assert not made
    go_on.set()
    for done in asked:
        done.result(30)
    assert made == list(range(50))


def test_after_a_call_that_failed_none_is_made_and_each_is_told_why() -> None:
    behind, made, go_on = Behind("test"), list[int](), threading.Event()

    def fails() -> None:
        go_on.wait(30)
        raise KeyError("gone")

    failed, waiting = behind.ask(fails), behind.ask(lambda: made.append(1))
    go_on.set()
    for done in (failed, waiting):
        with pytest.raises(KeyError, match="gone"):
            done.result(30)
    with pytest.raises(KeyError, match="gone"):
        behind.ask(lambda: made.append(2))
    assert not made


def test_only_so_many_calls_wait() -> None:
    behind, begun, go_on = Behind("test", most_waiting=2), threading.Event(), threading.Event()
    behind.ask(lambda: (begun.set(), go_on.wait(30)))
    assert begun.wait(30)
    for _ in range(2):
        behind.ask(lambda: None)
    with pytest.raises(BufferError, match="2 calls wait"):
        behind.ask(lambda: None)
    go_on.set()
