"""Entries of annotation files: what a key may hold, and a message that says where and what to write."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from pipeline.files.entries import parse_json, read_bytes, taken, without_collection
from shards.errors import SourceError


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ([], int, r"a\.json: entry 3: is list; expected a dict with the key 'id'"),
        ({"name": 1}, int, r"the key 'id' is missing; found \[\"'name'\"\]"),
        ({"id": "17"}, int, "'id' is str; expected int. It is the number as text: write 17 without quotes"),
        ({"id": "a17"}, int, "'id' is str; expected int$"),
        ({"id": True}, int, "'id' is bool; expected int"),
        ({"id": None}, (int, str), "'id' is NoneType; expected int or str"),
        ({"id": "half \ud83d"}, str, "half of a character"),
    ],
)
def test_a_wrong_value_is_said_with_its_place(entry: Any, kind: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        taken(entry, "id", kind, "a.json: entry 3")


def test_right_values_are_given_as_they_are() -> None:
    assert [taken({"id": v}, "id", (int, str), "x") for v in (0, -1, "é ☕")] == [0, -1, "é ☕"]


def test_json_with_a_byte_order_mark_or_half_of_a_character_is_read() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}
    assert parse_json(rb'{"a": "\ud83d", "b": 2}', "x") == {"a": "\ud83d", "b": 2}


@pytest.mark.parametrize("payload", [b"{", b'{"a": NaN}', '{"a": "é"}'.encode("cp1252"), b"", b"[" * 100_000])
def test_what_is_no_json_is_our_own_error(payload: bytes) -> None:
    with pytest.raises(SourceError, match=r"^x\.json: is not valid JSON .* save it as UTF-8"):
        parse_json(payload, "x.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.json: cannot be read \(No such file"):
        read_bytes(tmp_path / "absent.json")


def test_the_collector_stands_still_while_a_file_is_read_and_is_as_it_was_afterwards() -> None:
    for was_on in (True, False):
        (gc.enable if was_on else gc.disable)()
        try:
            with without_collection():
                assert not gc.isenabled()
            assert gc.isenabled() == was_on
            with pytest.raises(SourceError), without_collection():
                parse_json(b"{", "damaged.json")
            assert gc.isenabled() == was_on
        finally:
            gc.enable()
