"""Shards as columns: the same entries as one by one, and every fault of a manifest told as if there were no columns."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.contract import manifest as manifest_module
from shards.contract.entries import ShardEntry
from shards.contract.manifest import Manifest, examine, fingerprint
from shards.contract.shard_list import JoinedShards, ShardList, are_distinct, numbers_of
from shards.errors import SchemaMismatch
from tests.fuzz import cases
from tests.fuzz import damaged as damaged_bytes
from tests.shards.toy_set import SCHEMA, edit_manifest

COUNTS = ("records", "items", "rejects")
VALUES = st.sampled_from(
    [
        *(None, True, 1.0, -1, 0, 2**61, 2**62 - 1, 2**62, 2**63, 2**64, [], {}, "", "a", "a" * 64, "A" * 64, "g" * 64),
        *("٣" * 64, "0" * 63 + "\n", "__x", "x__", "a.b", "a/b", "a b", "a\nb", "a\n__b", "é", "~!"),
    ]
)


def entry(number: int, **values: Any) -> ShardEntry:
    tar_sha256, idx_sha256 = f"{number:064x}", f"{number + 1:064x}"
    made = ShardEntry(f"toy-{number:06d}", number, 2 * number, 512 * number, tar_sha256, idx_sha256, rejects=1)
    return replace(made, **values)


def manifest_of(count: int, recipe: dict[str, Any] | None = None) -> Manifest:
    entries, recipe = [entry(number) for number in range(1, count + 1)], recipe or {"a": [1, "é"]}
    counts = {name: sum(getattr(one, name) for one in entries) for name in COUNTS}
    return Manifest("toy", "train", recipe, fingerprint(recipe), SCHEMA, tuple(entries), counts)


def one_by_one(payload: bytes) -> Any:
    """What `examine` says where nothing is taken as a whole."""
    with (
        mock.patch.object(ShardList, "parsed", return_value=None),
        mock.patch.object(manifest_module, "_is_quickly", return_value=False),
    ):
        return examine(payload, "toy")


def check_same(payload: bytes) -> None:
    (found, faults), (expected, said) = examine(payload, "toy"), one_by_one(payload)
    assert [(type(fault), str(fault)) for fault in faults] == [(type(fault), str(fault)) for fault in said]
    assert found == expected
    if found is not None and not faults:
        assert found.to_bytes() == expected.to_bytes()


def test_it_is_the_entries_in_their_order() -> None:
    entries = tuple(entry(number) for number in (3, 1, 2))
    shards = ShardList.of(entries)
    for same in (tuple(shards), list(shards), shards[:], pickle.loads(pickle.dumps(shards)), copy.deepcopy(shards)):
        assert shards == same
        assert same == (list(entries) if isinstance(same, list) else entries)
    for other in (entries[:2], (*entries[:2], entry(4)), 3):
        assert shards != other
    assert shards[1] == shards[-2] == entries[1]
    assert shards[1:] == entries[1:]
    assert shards[::-1] == entries[::-1]
    assert entry(2) in shards
    assert entry(4) not in shards
    with pytest.raises(IndexError):
        shards[3]
    assert [shard.name for shard in shards] == ["toy-000003", "toy-000001", "toy-000002"]
    assert JoinedShards([shards, entries[:1], ShardList.of(())]) == (*entries, entries[0])


def test_its_columns_are_those_of_any_entries() -> None:
    entries = tuple(entry(number) for number in (3, 1, 2))
    for shards in (ShardList.of(entries), entries):
        for name in (*COUNTS, "tar_bytes"):
            assert numbers_of(shards, name).tolist() == [getattr(one, name) for one in entries]


def test_a_parsed_manifest_is_written_as_it_was() -> None:
    payload = manifest_of(30).to_bytes()
    found = Manifest.parse(payload, "toy")
    assert isinstance(found.shards, ShardList)
    assert found == manifest_of(30)
    assert found.to_bytes() == payload


@pytest.mark.parametrize("number", [1e16, 1e-7, 1.5, 2**53 + 1])
def test_a_number_that_is_spelled_in_several_ways_is_believed(number: float) -> None:
    payload = manifest_of(2, {"rate": number}).to_bytes()
    assert Manifest.parse(payload, "toy").to_bytes() == payload


@cases(2000)
@given(st.data())
def test_fuzz_entries_are_taken_together_as_one_by_one(data: st.DataObject) -> None:
    rows = [entry(number).to_json() for number in range(1, data.draw(st.integers(1, 5)))]
    for row in rows:
        for name in data.draw(st.lists(st.sampled_from([*row, "other"]), max_size=1)):
            row[name] = data.draw(VALUES)
            if data.draw(st.integers(0, 4)) == 0:
                del row[name]
    found = ShardList.parsed(rows)
    try:
        expected = tuple(ShardEntry.from_json(row, "toy") for row in rows)
    except SchemaMismatch:
        assert found is None
        return
    is_whole = all(len(row) == 7 for row in rows)
    if is_whole and all(sum(row[name] for row in rows) < 2**62 for name in (*COUNTS, "tar_bytes")):
        assert found == expected
    else:
        assert found is None


@pytest.mark.parametrize("data", [None, {}, "shards", [[]], [{}], [None], [{"name": "x"}], 7])
def test_what_is_no_list_of_entries_is_not_taken(data: Any) -> None:
    assert ShardList.parsed(data) is None


@cases(2000)
@given(st.data())
def test_fuzz_faults_of_values_are_the_same(data: st.DataObject) -> None:
    values = json.loads(manifest_of(3).to_bytes())
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.sampled_from([values, values["counts"], values["recipe"], *values["shards"]]))
        if place:
            place[data.draw(st.sampled_from(list(place)))] = data.draw(VALUES)
    if data.draw(st.booleans()) and isinstance(values["shards"], list):
        values["shards"] += values["shards"][:1]
    if data.draw(st.booleans()):
        values.pop("sha256", None)
        values["sha256"] = manifest_module._sha256_of(values)
    check_same(json.dumps(values, indent=data.draw(st.sampled_from([None, 1]))).encode())


SOUND = manifest_of(3).to_bytes()


@cases(2000)
@given(damaged_bytes(SOUND))
def test_fuzz_faults_of_bytes_are_the_same(payload: bytes) -> None:
    check_same(payload)


def test_a_set_whose_hash_fits_wrong_entries_is_refused(damaged: Path) -> None:
    edit_manifest(damaged, lambda data: data["shards"][1].update(tar_bytes=-1))
    with pytest.raises(SchemaMismatch, match=r"shard 1: tar_bytes is -1; expected 0 to 2\^62"):
        Manifest.load(damaged)


def test_a_name_that_comes_twice_is_noticed() -> None:
    entries = (entry(3), entry(1), entry(3))
    for shards in (ShardList.of(entries), entries):
        assert not are_distinct(shards)
        assert are_distinct(shards[:2])
        assert are_distinct(JoinedShards([shards[:1], shards[1:2]]))
        assert not are_distinct(JoinedShards([shards[:1], shards[2:]]))
