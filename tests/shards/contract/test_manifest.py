"""Manifest: fingerprints tell recipes apart, differences are named, and an edited file is not believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shards.contract.manifest import Manifest, fingerprint, recipe_difference
from shards.errors import CorruptShard, FingerprintMismatch, IncompleteSet, SchemaMismatch
from tests.shards.toy_set import RECIPE


def test_the_manifest_survives_a_round_trip(toy_root: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(toy_root)
    manifest.write(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert (tmp_path / "manifest.json").read_bytes() == (toy_root / "manifest.json").read_bytes()


def test_the_counts_cover_records_items_rejects_and_axes(toy_root: Path) -> None:
    assert Manifest.load(toy_root).counts == {
        "records": 12,
        "items": 24,
        "rejects": 1,
        "sentence": 40,
        "view": 18,
    }


def test_the_fingerprint_ignores_order_and_sees_values() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": (2,), "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    with pytest.raises(SchemaMismatch):
        fingerprint({"folder": Path("/data")})


def test_recipes_are_compared_field_by_field() -> None:
    here = {"encoder": {"vae": {"weights": "ab12"}}, "seed": 1, "views": [1, 2], "same": {}}
    there = {"encoder": {"vae": {"weights": "cd34"}}, "views": [1, 3], "size": 512, "same": {}}
    assert recipe_difference(here, there, "toy") == [
        "encoder.vae.weights: 'ab12' here, 'cd34' in toy",
        "seed: 1 here, absent in toy",
        "size: absent here, 512 in toy",
        "views.1: 2 here, 3 in toy",
    ]
    assert recipe_difference({"a": (1,)}, {"a": [1]}) == []


def test_another_recipe_is_refused_with_the_difference(toy_root: Path) -> None:
    manifest = Manifest.load(toy_root)
    manifest.check_fingerprint(RECIPE)
    with pytest.raises(FingerprintMismatch, match="text: 'states' here, 'tokens' in toy"):
        manifest.check_fingerprint({**RECIPE, "text": "states"})


def test_a_folder_without_a_manifest_is_an_unfinished_set(tmp_path: Path) -> None:
    with pytest.raises(IncompleteSet, match=r"manifest\.json not found .* has not finished"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "error", "message"),
    [
        (("version",), 3, SchemaMismatch, "version is 3, this code reads 1 and 2"),
        (("version",), 2, SchemaMismatch, "shards is list; expected an object with"),
        (("recipe", "text"), "states", CorruptShard, "recipe and fingerprint disagree"),
        (("counts", "items"), 23, CorruptShard, "counts.items is 23, its shards sum to 24"),
        (("schema", "fields"), [], SchemaMismatch, "last field must be"),
        (("shards",), [{"name": "x"}], SchemaMismatch, "entries do not fit"),
    ],
)
def test_an_edited_manifest_is_refused(
    damaged: Path, path: tuple[str, ...], value: object, error: type, message: str
) -> None:
    data = json.loads((damaged / "manifest.json").read_text())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (damaged / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(error, match=message):
        Manifest.load(damaged)
