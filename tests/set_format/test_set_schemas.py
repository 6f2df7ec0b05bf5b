"""The schemas of docs/schemas/set fit what builds write, and nothing that is wrong in one place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from shards.contract.manifest import PAGED, Manifest
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from tests.set_format.built_sets import KINDS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "set"
SCHEMAS = {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
META = {"laser": "meta-depth"}  # of the other kinds: meta-KIND


@cache
def validator(name: str) -> jsonschema.Draft7Validator:
    resources = [(f"{stem}.schema.json", Resource.from_contents(schema)) for stem, schema in SCHEMAS.items()]
    return jsonschema.Draft7Validator(SCHEMAS[name], registry=Registry().with_resources(resources))


def faults(name: str, value: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator(name).iter_errors(value)]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_built_set_fits(kind: str, set_folders: dict[str, Path]) -> None:
    folder = set_folders[kind]
    assert faults("manifest", json.loads((folder / "manifest.json").read_bytes())) == []
    assert faults("wids", json.loads((folder / "wids.json").read_bytes())) == []
    lines = (folder / "rejects.jsonl").read_bytes().splitlines()
    assert [fault for line in lines for fault in faults("reject", json.loads(line))] == []
    assert bool(lines) == (kind == "laser")
    if kind != "pose":  # no build of a source
        origins = (folder / "origins.jsonl").read_bytes().splitlines()
        assert [fault for line in origins for fault in faults("origin", json.loads(line))] == []
        assert faults("environment", json.loads((folder / "environment.json").read_bytes())) == []
    shards = ShardSet.open(folder)
    for number in range(shards.n_records):
        meta = shards.record(number).meta
        assert faults(META.get(kind, f"meta-{kind}"), meta) == []
        assert faults("meta-picture", meta) == [], "every record is one of a picture"
        for view in meta["views"]:
            assert faults("view", View.from_json(view).to_json()) == []


def test_kinds_are_told_apart(set_folders: dict[str, Path]) -> None:
    metas = {kind: ShardSet.open(set_folders[kind]).record(0).meta for kind in KINDS if kind != "laser"}
    fits = {(kind, other) for kind in metas for other in metas if not faults(f"meta-{other}", metas[kind])}
    assert fits == {(kind, kind) for kind in metas}


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def plant(value: Any) -> None:
        for part in path[:-1]:
            value = value[part]
        value[path[-1]] = to

    return plant


def _drop(*path: Any) -> Callable[[Any], None]:
    def plant(value: Any) -> None:
        for part in path[:-1]:
            value = value[part]
        del value[path[-1]]

    return plant


WRONG = {
    "another version": ("manifest", "manifest", _set("version", to=3)),
    "the list of another version": ("manifest", "manifest", _set("version", to=2)),
    "an unknown key": ("manifest", "manifest", _set("notes", to="")),
    "a hash that is none": ("manifest", "manifest", _set("shards", 0, "tar_sha256", to="ab")),
    "a shard without records": ("manifest", "manifest", _set("shards", 0, "records", to=0)),
    "a page without a hash": ("paged manifest", "manifest", _set("shards", "pages_sha256", 0, to="")),
    "a large set without a hash of its own": ("paged manifest", "manifest", _drop("sha256")),
    "an entry in a list of pages": ("paged manifest", "manifest", _set("shards", to=[])),
    "a file without a hash": ("seg origins.jsonl", "origin", lambda line: line["records"][0]["files"][0].pop()),
    "an origin of no key": ("seg origins.jsonl", "origin", _drop("records", 0, "key")),
    "a revision that is text": ("seg environment.json", "environment", _set(0, "components", "views", to="2")),
    "an unknown codec": ("manifest", "manifest", _set("schema", "fields", 0, "codec", to="pickle")),
    "meta with a shape": ("manifest", "manifest", _set("schema", "fields", -1, "shape", to=[3])),
    "no item axis": ("manifest", "manifest", _drop("schema", "item_axis")),
    "no items": ("laser", "meta-depth", _set("items", to=[])),
    "an item of no row": ("laser", "meta-depth", _set("items", 0, to=[0, 0])),
    "no class": ("laser", "meta-depth", _drop("class_id")),
    "a box of three numbers": ("laser", "meta-depth", _set("views", 0, "box_px", to=[0, 0, 3])),
    "an unknown kernel": ("laser", "meta-depth", _set("views", 0, "kernel", to="nearest")),
    "an unknown step of a view": ("laser", "meta-depth", _set("views", 0, "angle", to=90)),
    "a colour step without a name": ("laser", "meta-depth", _set("views", 0, "colour", to=[[1.05]])),
    "a mask that is a list": ("refer", "meta-refer", _set("refs", 0, "rle", "counts", to=[3, 4])),
    "a sentence that is a number": ("refer", "meta-refer", _set("sentences", 0, to=1)),
    "no ignore value": ("seg", "meta-seg", _drop("ignore")),
    "a keypoint too few": ("pose", "meta-pose", lambda meta: meta["persons"][0]["keypoints"].pop()),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_planted_fault_does_not_fit(fault: str, set_folders: dict[str, Path]) -> None:
    kind, name, plant = WRONG[fault]
    if kind == "manifest":
        value = json.loads((set_folders["refer"] / "manifest.json").read_bytes())
    elif kind == "paged manifest":
        value = json.loads(replace(Manifest.load(set_folders["refer"]), version=PAGED).to_bytes())
    elif " " in kind:
        folder, _, file = kind.partition(" ")
        text = (set_folders[folder] / file).read_text()
        value = json.loads(text.splitlines()[0] if file.endswith(".jsonl") else text)
    else:
        value = copy.deepcopy(ShardSet.open(set_folders[kind]).record(0).meta)
    assert faults(name, value) == []
    plant(value)
    assert len(faults(name, value)) >= 1
