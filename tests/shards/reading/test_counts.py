"""Numbers of an array that are a sequence as a tuple is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from shards.reading.counts import Counts


def test_they_are_what_a_tuple_of_them_is() -> None:
    table = np.arange(12).reshape(4, 3)
    counts = Counts(table[:, 1])  # with a gap between them, as the lists of large sets have
    assert (len(counts), counts[2], counts[-1], list(counts)) == (4, 7, 10, [1, 4, 7, 10])
    assert counts == (1, 4, 7, 10) == counts
    assert counts == Counts.of([1, 4, 7, 10])
    assert (counts == (1, 4, 7), counts == Counts.of((1, 4)), counts == 3) == (False, False, False)
    assert hash(counts) == hash((1, 4, 7, 10))
    assert repr(counts) == "(1, 4, 7, 10)"
    assert counts.ends.tolist() == [1, 5, 12, 22]
    with pytest.raises(IndexError):
        counts[4]


def test_a_slice_of_all_of_them_is_themselves() -> None:
    counts = Counts.of((3, 5, 2))
    assert counts[0:3] is counts
    assert Counts.of(counts) is counts
    assert counts[1:] == (5, 2)
    assert counts[::-1] == (2, 5, 3)
    assert pickle.loads(pickle.dumps(counts)) == counts
