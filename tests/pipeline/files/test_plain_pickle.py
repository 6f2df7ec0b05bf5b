"""Pickles of plain values: the forms that Python writes are read, bombs are refused at once and in little memory."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pipeline.files.plain_pickle import unpickle_plain
from shards.errors import SourceError

HERE = Path("refs(unc).p")
LONG = "x" * 70_000
VALUES = [
    [],
    {"a": [1, -1, 255, 256, 65536, -(2**31), 2**31, 2**60, 1.5, -0.0, None, True, False], "é☕": "", LONG: [LONG]},
    [{"n": number, "text": f"word {number % 300}"} for number in range(3000)],  # a memo of more than 256 places
    [[[[[]]]], {}, ()],
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES)
def test_every_protocol_gives_the_value_back(value: Any, protocol: int) -> None:
    assert unpickle_plain(pickle.dumps(value, protocol), HERE) == value


TUPLES = b"\x80\x02]q\x00}q\x01)" + b"".join(b"q%c0h%ch%c\x86" % (2, 2, 2) for _ in range(60)) + b"K\x01s."
BOMBS = {
    "tuples of tuples as a key": TUPLES,
    "a memo of 2^31 places": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a memo of 10^9 places, as text": b"]p999999999\n.",
    "a byte array of 2^40": b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.",
    "bytes of 2^40": b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",
    "text of 2^40": b"\x80\x04\x8d\x00\x00\x00\x00\x00\x01\x00\x00.",
    "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "state for a list": b"\x80\x02]}b.",
    "a call": b"\x80\x02])R.",
    "a set": b"\x80\x04\x8f.",
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_at_once_and_in_little_memory(what: str) -> None:
    tracemalloc.start()
    before = time.process_time()
    try:
        with pytest.raises(SourceError, match=r"refs\(unc\)\.p: (holds|is not a readable pickle)") as caught:
            unpickle_plain(BOMBS[what], HERE)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 1
    assert len(str(caught.value)) < 1000
