"""Rows of many owners in full batches, owners whole and in order."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpd.inference.packing import kind_of, packed, read_ahead, rows_of


@given(counts=st.lists(st.integers(0, 7), max_size=12), size=st.integers(1, 9))
def test_every_owner_comes_out_whole_and_in_order(counts, size):
    batches = []

    def run(rows):
        batches.append(len(rows))
        return [10 * row for row in rows]

    owners = [(name, range(100 * name, 100 * name + count)) for name, count in enumerate(counts)]
    found = list(packed(owners, size, run))
    assert found == [(name, [10 * row for row in rows]) for name, rows in owners]
    assert all(n == size for n in batches[:-1])


def test_rows_of_another_kind_begin_a_batch_and_finished_owners_do_not_wait():
    batches = []

    def run(rows):
        batches.append(list(rows))
        return rows

    asked = []

    def owners():
        for name in ("aa", "ab", "b"):
            asked.append(name)
            yield name, iter(name)

    stream = packed(owners(), 2, run, alike=lambda row: row)
    assert next(stream) == ("aa", ["a", "a"])
    assert asked == ["aa"], "nothing is read before it is needed"
    assert list(stream) == [("ab", ["a", "b"]), ("b", ["b"])]
    assert batches == [["a", "a"], ["a"], ["b", "b"]]


def test_the_kind_of_a_sample_is_its_shapes_and_the_sizes_it_states():
    arrays = {"latent": np.zeros((2, 4, 8, 8)), "out_px": np.array([[8, 8], [8, 9]]), "class_id": np.array([1, 2])}
    first, second = rows_of(arrays)
    assert kind_of(first) != kind_of(second)
    assert kind_of(first) == kind_of({**second, "out_px": first["out_px"]})
    assert kind_of(first) != kind_of({**first, "latent": np.zeros((4, 8, 9))})


def test_reading_is_ahead_by_so_many_in_order_and_an_error_comes_in_its_turn():
    started = []

    def read(item):
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return -item

    stream = read_ahead(iter(range(9)), read, 2)
    assert next(stream) == 0
    assert len(started) <= 3
    assert [next(stream), next(stream)] == [-1, -2]
    with pytest.raises(ValueError, match="three"):
        next(stream)
    assert max(started) <= 5, "nothing is read after the error"


def test_items_are_taken_by_a_thread_of_their_own_and_an_error_of_theirs_comes_in_its_turn():
    takers = []

    def items():
        for number in range(4):
            takers.append(threading.current_thread().name)
            yield number
        raise ValueError("no more")

    stream = read_ahead(items(), lambda item: -item, 3)
    assert [next(stream) for _ in range(4)] == [0, -1, -2, -3]
    with pytest.raises(ValueError, match="no more"):
        next(stream)
    assert set(takers) == {"take-ahead_0"}


def test_whoever_stops_early_waits_for_what_is_being_read_alone():
    started, gate = [], threading.Event()

    def read(item):
        started.append(item)
        assert item == 0 or gate.wait(10)

    stream = read_ahead(iter(range(9)), read, 8)
    next(stream)
    threading.Timer(0.5, gate.set).start()  # once `close` waits
    stream.close()
    assert started in ([0], [0, 1])
