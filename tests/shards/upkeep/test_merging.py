"""One set of several: all records in order, tars byte for byte, and refusals that write nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards.contract.manifest import fingerprint
from shards.contract.schema import Field, Schema
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch
from shards.reading.reader import ShardSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep.merging import merge_sets
from shards.verify import find_faults
from tests.shards.toy_set import RECIPE, SCHEMA, toy_record
from tests.shards.upkeep.test_copying import files_of
from tests.shards.upkeep.test_difference import set_of

pytestmark = pytest.mark.usefixtures("in_either_form")

Somewhere = Callable[[str], Folder]


def part(folder: Path, start: int, stop: int, **said: object) -> Path:
    return set_of(folder, [toy_record(number) for number in range(start, stop)], **said)  # type: ignore[arg-type]


def test_all_records_in_order_with_every_byte(tmp_path: Path, somewhere: Somewhere) -> None:
    one = part(tmp_path / "one", 0, 6, rejects=("a", "b"))
    two = part(tmp_path / "two", 6, 9, rejects=("c",))
    said: list[tuple[int, int]] = []
    manifest = merge_sets([one, two], str(somewhere("both")), report=lambda *counts: said.append(counts))
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert list(find_faults(somewhere("both"))) == []
    files = files_of(somewhere("both"))
    for merged, own in (("000000", one / "s-000000"), ("000001", one / "s-000001"), ("000002", two / "s-000000")):
        for suffix in ("tar", "idx"):
            assert files[f"both-{merged}.{suffix}"] == own.with_suffix(f".{suffix}").read_bytes()
    assert (manifest.counts["records"], manifest.counts["rejects"]) == (9, 3)
    assert b'"key":"c","reason":"cut","shard":"both-000002"' in files["rejects.jsonl"]
    assert b"- **merged of**: one, two" in files["README.md"]
    assert not any(name.startswith("_build") for name in files)
    shards = ShardSet.open(str(somewhere("both")), by_range=True)
    assert [shards.index.key(number) for number in range(9)] == [f"image{number:04d}" for number in range(9)]
    assert np.array_equal(shards.record(7).array("latent"), toy_record(7).values["latent"])
    assert shards.table("classes")[0]["text"].shape == (3, 2)


def test_a_merged_set_is_another_set_of_the_same_recipe(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", 0, 2), part(tmp_path / "two", 2, 4)
    manifest = merge_sets([one, two], tmp_path / "both")
    assert manifest.recipe["part"]["of"] == fingerprint(RECIPE)
    assert manifest.fingerprint != fingerprint(RECIPE)
    again = merge_sets([tmp_path / "both", part(tmp_path / "three", 4, 6)], tmp_path / "all")
    assert again.recipe["part"] == {**again.recipe["part"], "of": fingerprint(RECIPE), "records": 6}


def test_other_sources_are_merged_if_asked_to(tmp_path: Path) -> None:
    one = part(tmp_path / "one", 0, 2)
    two = part(tmp_path / "two", 2, 4, recipe={**RECIPE, "source": {"name": "other"}})
    with pytest.raises(FingerprintMismatch, match=r"source.name: 'toy' here, 'other' in (.|\n)*--across-sources"):
        merge_sets([one, two], tmp_path / "both")
    manifest = merge_sets([one, two], tmp_path / "both", across_sources=True)
    assert manifest.recipe["source"] == {"name": "merged", "of": {"one": RECIPE["source"], "two": {"name": "other"}}}
    three = part(tmp_path / "three", 4, 6, recipe={**RECIPE, "text": "states"})
    with pytest.raises(FingerprintMismatch, match=r"text: 'tokens' here, 'states' in .*\nNothing was written"):
        merge_sets([one, three], tmp_path / "x", across_sources=True)


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    one = part(tmp_path / "one", 0, 3)
    with pytest.raises(SchemaMismatch, match=r"key 'image0002' is in .*one and in .*two: a record stands"):
        merge_sets([one, part(tmp_path / "two", 2, 4)], tmp_path / "both")
    schema = Schema(tuple(replace(f, unit="x") if f.name == "gist" else f for f in SCHEMA.fields), "sentence")
    assert isinstance(schema.field("gist"), Field)
    with pytest.raises(SchemaMismatch, match="have other fields"):
        merge_sets([one, part(tmp_path / "three", 3, 4, schema=schema)], tmp_path / "both")
    with pytest.raises(SchemaMismatch, match="have other tables"):
        merge_sets([one, part(tmp_path / "four", 3, 4, table=2.0)], tmp_path / "both")
    with pytest.raises(ConfigError, match="at least two sets; found 1"):
        merge_sets([one], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    with pytest.raises(ConfigError, match="holds a set; give another place"):
        merge_sets([one, part(tmp_path / "five", 3, 4)], one)


def test_an_interrupted_merge_goes_on_in_its_place_and_no_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shards.upkeep import merging

    one, two = part(tmp_path / "one", 0, 2), part(tmp_path / "two", 2, 4)

    def broken(*given: object, **said: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(merging, "seal_set", broken)
        with pytest.raises(OSError):
            merge_sets([one, two], tmp_path / "both")
    with pytest.raises(ConfigError, match=r"(?s)holds shards of something else.*here, .* in what was begun"):
        merge_sets([two, one], tmp_path / "both")
    merge_sets([one, two], tmp_path / "both")
    assert list(find_faults(open_folder(tmp_path / "both"))) == []
