"""A set converted is the set a build with those settings writes, down to the byte where that can be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.building import converting, label_forms
from pipeline.building.converting import Conversion, convert_set
from pipeline.building.label_forms import pixels_of
from pipeline.building.lease import Lease
from pipeline.files.label_png import encode_label
from shards.contract.manifest import Manifest
from shards.contract.quick_png import row_runs
from shards.contract.schema import Field, Record, Schema
from shards.errors import BeingBuilt, ConfigError, CorruptShard, FingerprintMismatch
from shards.reading.reader import ShardSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.splitting import split_set
from shards.verify import find_faults
from shards.writing.writer import read_rejects, seal_set, write_shard
from tests.pipeline.building.test_incremental import World
from tests.pipeline.toys import SETTINGS, Build, ToySource, ToyVae, digests
from tests.shards.toy_set import write_in_pages
from tests.shards.upkeep.conftest import somewhere
from tests.shards.upkeep.test_splitting import members

__all__ = ["somewhere"]
ALL = {"labels": "quick", "records_per_shard": 3}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ten pictures, of which the third and the last two cannot be used."""
    made = World(tmp_path / "data", tmp_path / "out")
    made.out.mkdir()
    for number in range(10):
        made.add(number)
    for number in (2, 8, 9):
        made.label(f"p{number:04d}", 77)
    return made


def built(world: World, place: str, **settings: Any) -> Path:
    """Where the set is."""
    world.build(place, settings=replace(SETTINGS, **settings)).run()
    return world.out / place / "toys"


@pytest.mark.parametrize("settings", [{"labels": "quick"}, {"records_per_shard": 3}, {"records_per_shard": 2}, ALL])
def test_it_has_the_bytes_of_a_fresh_build_and_a_build_goes_on_with_it(world: World, settings: dict[str, Any]) -> None:
    built(world, "set")
    convert_set(world.out / "set" / "toys", world.out / "converted" / "toys", Conversion(**settings))
    built(world, "fresh", **settings)
    assert digests(world.out / "converted") == digests(world.out / "fresh")
    assert list(find_faults(world.out / "converted" / "toys")) == []
    after = world.build("converted", settings=replace(SETTINGS, **settings))
    assert after.begin().is_done
    world.label("p0005", 0)
    assert len(after.begin().todo) == 1
    after.run()
    assert isinstance(after.vae, ToyVae)
    assert after.vae.shapes == []  # an edited label encodes nothing of a converted set, too


def test_states_are_left_out_and_the_rest_is_a_build_with_tokens(tmp_path: Path) -> None:
    source = ToySource(broken={"image003": "torn"}, left_out={"image004": ("no mask",)})
    Build(tmp_path / "set" / "toys", source).run()
    Build(tmp_path / "fresh" / "toys", source, settings=replace(SETTINGS, text="tokens")).run()
    convert_set(tmp_path / "set" / "toys", tmp_path / "tokens" / "toys", Conversion(text="tokens"))
    assert digests(tmp_path / "tokens") == digests(tmp_path / "fresh")
    assert "text" not in {field.name for field in Manifest.load(tmp_path / "tokens" / "toys").schema.fields}


def test_there_and_back_has_the_same_pixels_and_says_that_it_was_written_anew(world: World) -> None:
    built(world, "set")
    first, quick, back = (world.out / name / "toys" for name in ("set", "quick", "back"))
    convert_set(first, quick, Conversion(labels="quick"))
    manifest = convert_set(quick, back, Conversion(labels="small"))
    assert manifest.recipe == {**Manifest.load(first).recipe, "labels": "repacked"}
    assert members(*back.glob("*.tar")) == members(*first.glob("*.tar"))  # Pillow wrote both
    of_quick = ShardSet.open(quick).record(0).payload("label")
    assert row_runs(of_quick, "") is not None
    assert np.array_equal(pixels_of(bytes(of_quick)), pixels_of(bytes(ShardSet.open(back).record(0).payload("label"))))
    with pytest.raises(FingerprintMismatch, match="labels: absent here, 'repacked' in toys"):
        world.build("back").begin()


@pytest.mark.parametrize("size", ["listed", "paged"])
def test_of_a_store_and_to_one(
    world: World, somewhere: Callable[[str], Folder], size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == "paged":
        write_in_pages(monkeypatch)
    folder = built(world, "set")
    copy_set(open_folder(folder), somewhere("set/toys"))
    convert_set(str(somewhere("set/toys")), str(somewhere("far/toys")), Conversion(labels="quick"))
    convert_set(folder, world.out / "near" / "toys", Conversion(labels="quick"))
    copy_set(somewhere("far/toys"), open_folder(world.out / "fetched" / "toys"))
    assert digests(world.out / "fetched") == digests(world.out / "near")


def test_killed_it_goes_on_and_keeps_what_was_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(world, "set")
    written: list[str] = []
    write_shard = converting.write_shard

    def counted(*given: Any) -> Any:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(given[1])
        return write_shard(*given)

    monkeypatch.setattr(converting, "write_shard", counted)
    with pytest.raises(KeyboardInterrupt):
        convert_set(folder, world.out / "twice" / "toys", Conversion(**ALL))
    with pytest.raises(ConfigError, match="holds shards of something else"):
        convert_set(folder, world.out / "twice" / "toys", Conversion(labels="quick"))
    monkeypatch.setattr(converting, "write_shard", lambda *given: written.append(given[1]) or write_shard(*given))
    convert_set(folder, world.out / "twice" / "toys", Conversion(**ALL))
    assert written == ["toys-000000", "toys-000001", "toys-000002"]  # the fourth has rejects alone
    built(world, "fresh", **ALL)
    assert digests(world.out / "twice") == digests(world.out / "fresh")


def test_a_part_stays_a_part(world: World) -> None:
    folder = built(world, "set")
    part = split_set(folder, world.out / "parts", {"toys": 4})["toys"]
    made = convert_set(world.out / "parts" / "toys", world.out / "quick" / "toys", Conversion(labels="quick"))
    assert made.recipe["part"]["keys_sha256"] == part.recipe["part"]["keys_sha256"]
    fresh = convert_set(folder, world.out / "all" / "toys", Conversion(labels="quick"))
    assert made.recipe["part"]["of"] == fresh.fingerprint


def test_an_older_set_gets_todays_layout_and_says_where_its_cut_is_not_a_builds(world: World) -> None:
    folder = built(world, "set")
    for name in ("origins.jsonl", "file_times.jsonl", "environment.json"):
        (folder / name).unlink()
    manifest = Manifest.load(folder)
    replace(manifest, files={}).write(folder)
    made = convert_set(folder, world.out / "new" / "toys")
    assert (made.recipe, made.shards, sorted(made.files)) == (
        manifest.recipe,
        manifest.shards,
        ["README.md", "rejects.jsonl", "wids.json"],
    )
    rejects = [read_rejects(open_folder(place)) for place in (folder, world.out / "new" / "toys")]
    assert [[line["key"] for line in lines] for lines in rejects] == [["p0002", "p0008", "p0009"]] * 2
    cut = convert_set(folder, world.out / "cut" / "toys", Conversion(records_per_shard=2))
    assert cut.recipe["part"]["records"] == 7  # where its three rejects stood is not known
    assert cut.counts == manifest.counts


@pytest.mark.parametrize(
    ("conversion", "said"),
    [
        ({}, "is what was asked for already"),
        ({"labels": "small"}, "is what was asked for already"),
        ({"records_per_shard": 4}, "is what was asked for already"),
        ({"text": "tokens"}, "has no sentence states to leave out"),
        ({"labels": "huge"}, "labels is 'huge', expected one of small, quick"),
        ({"text": "states"}, "sets can be converted to 'tokens' alone"),
        ({"records_per_shard": -1}, "records_per_shard is -1"),
    ],
)
def test_what_cannot_be_is_one_message_and_nothing_is_written(
    world: World, conversion: dict[str, Any], said: str
) -> None:
    folder = built(world, "set")
    with pytest.raises(ConfigError) as error:
        convert_set(folder, world.out / "new" / "toys", Conversion(**conversion))
    assert said in str(error.value)
    assert not (world.out / "new").exists()


def test_records_of_one_key_are_not_lost(tmp_path: Path) -> None:
    Build(tmp_path / "mine").run()
    root = tmp_path / "mine"
    manifest = Manifest.load(root)
    for end in ("tar", "idx"):
        shutil.copy(root / f"mine-000000.{end}", root / f"mine-000009.{end}")
    again = replace(manifest.shards[0], name="mine-000009")
    counts = {name: number + getattr(again, name, 0) for name, number in manifest.counts.items()}
    replace(manifest, shards=(*manifest.shards, again), counts=counts).write(root)
    with pytest.raises(CorruptShard, match=r"mine: 4 of its records have the key of another, and would be lost"):
        convert_set(root, tmp_path / "sets/other", Conversion(records_per_shard=3))
    assert not (tmp_path / "sets").exists()


def test_records_that_origins_do_not_name_are_not_lost(world: World) -> None:
    folder = built(world, "set")
    lines = (folder / "origins.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "origins.jsonl").chmod(0o644)
    (folder / "origins.jsonl").write_bytes(b"".join(lines[:1]))
    assert len(list(find_faults(folder))) == 1
    with pytest.raises(CorruptShard, match=r"origins\.jsonl.*sha256"):
        convert_set(folder, world.out / "new" / "toys", Conversion(labels="quick"))
    manifest = Manifest.load(folder)  # of an older version: without a hash of it
    replace(manifest, files={}).write(folder)
    with pytest.raises(CorruptShard, match=r"origins\.jsonl of .* does not name the set's records"):
        convert_set(folder, world.out / "new" / "toys", Conversion(labels="quick"))
    assert not (world.out / "new").exists()


def test_of_two_conversions_to_one_place_one_is_told_of_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the second begins while the first is in the middle of it."""
    folder, target = built(world, "set"), world.out / "new" / "toys"
    refused: list[str] = []

    def write_shard_and_begin_another(*args: Any, **more: Any) -> Any:
        if not refused:
            refused.append("")
            before = digests(target)
            with pytest.raises(BeingBuilt, match="is being built by process") as error:
                convert_set(folder, target, Conversion(records_per_shard=2))
            refused.append(str(error.value))
            assert digests(target) == before
        return write_shard(*args, **more)

    monkeypatch.setattr(converting, "write_shard", write_shard_and_begin_another)
    convert_set(folder, target, Conversion(labels="quick"))
    assert len(refused) == 2
    built(world, "fresh", labels="quick")
    assert digests(target) == digests(world.out / "fresh" / "toys")
    with Lease(open_folder(target)), pytest.raises(BeingBuilt):  # nor do a build and a conversion meet
        convert_set(folder, target, Conversion(labels="quick"))


def test_states_without_token_ids_are_not_left_out(tmp_path: Path) -> None:
    schema = Schema((Field("text", "npy", "float16", ("S", 2), "sentence"), Field("meta", "json")), "sentence")
    folder = open_folder(tmp_path / "toys")
    record = Record("a", {"text": np.zeros((1, 2), np.float16), "meta": {"items": [[0, 1]]}})
    shard = write_shard(folder, "toys-000000", schema, [record])
    seal_set(folder, name="toys", split="train", recipe={}, schema=schema, shards=[shard], rejects=[])
    with pytest.raises(ConfigError, match="has sentence states and no token ids"):
        convert_set(tmp_path / "toys", tmp_path / "new" / "toys", Conversion(text="tokens"))


def test_a_name_that_no_shard_can_have_is_refused_before_anything_is_there(world: World) -> None:
    folder = built(world, "set")
    with pytest.raises(ConfigError, match=r"'toys\.v2': expected visible ASCII .*; the folder's name is the set's"):
        convert_set(folder, world.out / "toys.v2", Conversion(labels="quick"))
    assert not (world.out / "toys.v2").exists()


def test_a_flipped_byte_of_what_is_read_is_found(world: World) -> None:
    folder = built(world, "set")
    shards = ShardSet.open(folder)
    at = int(shards.index.fields["label"].offset[3])
    tar = folder / f"{shards.manifest.shards[int(shards.index.shard[3])].name}.tar"
    payload = bytearray(tar.read_bytes())
    payload[at + 60] ^= 1
    tar.chmod(0o644)
    tar.write_bytes(payload)
    with pytest.raises(CorruptShard, match="xxh3 differs from the index"):
        convert_set(folder, world.out / "new" / "toys", Conversion(labels="quick"))
    assert not (world.out / "new" / "toys" / "manifest.json").exists()


def test_pixels_that_would_change_stop_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(world, "set")

    monkeypatch.setattr(
        label_forms, "quick_labels", lambda labels: {"label": encode_label(np.zeros((6, 8), np.uint8) + 9)}
    )
    with pytest.raises(CorruptShard, match="its pixels would not be the same"):
        convert_set(folder, world.out / "new" / "toys", Conversion(labels="quick"))
