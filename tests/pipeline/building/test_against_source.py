"""A set held against its source: what changed, is missing or new, told record by record, and a sample drawn again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.building import against_source as looking
from pipeline.building.against_source import Standing, against_source
from pipeline.building.converting import Conversion, convert_set
from pipeline.sources import image_folders
from pipeline.views import exact
from shards.contract.manifest import Manifest
from shards.errors import CorruptShard
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_set
from shards.upkeep.splitting import split_set
from tests.pipeline.building.test_incremental import World
from tests.pipeline.toys import SETTINGS, Build, ToySource
from tests.shards.upkeep.conftest import somewhere

__all__ = ["somewhere"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ten pictures, of which the third cannot be used, and their set."""
    made = World(tmp_path / "data", tmp_path / "out")
    made.out.mkdir()
    for number in range(10):
        made.add(number)
    made.label("p0002", 77)
    made.build().run()
    return made


def look(world: World, place: str | Path = "", **said: Any) -> Standing:
    source: Any = image_folders.build(str(world.root), ["sound", "crack"], splits=["train"])
    return against_source(place or world.out / "set" / "toys", source, exact.build(8), **said)


def test_a_set_is_what_its_source_is(world: World) -> None:
    found = look(world, sample=99)
    assert found.is_current
    assert list(found.lines()) == [
        "10 records as their files are; 0 changed, 0 missing, 0 new; 9 of 9 drawn again came out the same"
    ]


def test_every_record_that_is_not_is_named_with_why(world: World) -> None:
    world.picture("p0005", 99)
    world.label("p0006", 1)
    world.remove(0)
    world.add(10)
    os.utime(world.root / "images/train/p0001.png", (5, 5))  # touched, and the same
    found = look(world, sample=99)
    assert not found.is_current
    assert list(found.lines()) == [
        "CHANGED p0005: images/p0005.png changed",
        "CHANGED p0006: label/p0006.png changed",
        "MISSING p0000: the source has it no longer",
        "NEW p0010: the set was built without it",
        "DIFFERS p0005: the encoder would be shown other pixels",
        "DIFFERS p0006: label has other values",
        "7 records as their files are; 2 changed, 1 missing, 1 new; 6 of 8 drawn again came out the same",
    ]


def test_files_are_read_unless_a_quick_look_is_asked_for(world: World) -> None:
    picture = world.root / "images/train/p0004.png"
    times = picture.stat().st_mtime_ns
    world.picture("p0004", 99)
    os.utime(picture, ns=(times, times))  # an edit that keeps size and time
    assert dict(look(world).changed) == {"p0004": "images/p0004.png changed"}
    assert look(world, quick=True).is_current


def test_a_label_that_is_gone_is_told_from_one_that_changed(world: World) -> None:
    (world.root / "labels/train/p0007.png").unlink()
    found = look(world, sample=99)
    assert found.changed["p0007"] == "label/p0007.png is gone, or cannot be read"
    assert "would be rejected" in found.differing["p0007"]


def test_choices_that_differ_are_named(world: World) -> None:
    source: Any = image_folders.build(str(world.root), ["sound", "broken"], splits=["train"])
    found = against_source(world.out / "set" / "toys", source, exact.build(16))
    assert [line.split(":")[0] for line in found.choices] == ["views.size_px.0", "views.size_px.1"]
    assert found.shared  # by the names of its classes
    assert not found.is_current


def test_the_sample_depends_on_its_seed_and_the_keys_alone(world: World) -> None:
    drawn = look(world, sample=3, seed=1).drawn
    assert len(drawn) == 3
    assert drawn == look(world, sample=3, seed=1).drawn
    assert {look(world, sample=3, seed=seed).drawn for seed in range(9)} != {drawn}
    assert set(drawn) < set(look(world, sample=9, seed=1).drawn)


def test_labels_in_another_form_are_compared_by_their_pixels(world: World) -> None:
    quick = world.out / "quick" / "toys"
    convert_set(world.out / "set" / "toys", quick, Conversion(labels="quick"))
    assert look(world, quick, sample=99).is_current
    world.label("p0003", 0)
    assert dict(look(world, quick, sample=99).differing) == {"p0003": "label has other values"}


def test_a_set_in_a_store(world: World, somewhere: Callable[[str], Folder]) -> None:
    copy_set(open_folder(world.out / "set" / "toys"), somewhere("toys"))
    world.label("p0003", 0)
    found = look(world, str(somewhere("toys")), sample=99)
    assert (len(found.same), list(found.changed), list(found.differing)) == (9, ["p0003"], ["p0003"])


def test_of_a_part_nothing_is_new_and_its_files_are_not_known(world: World) -> None:
    split_set(world.out / "set" / "toys", world.out / "parts", {"toys": 4})
    found = look(world, world.out / "parts" / "toys", sample=9)
    assert found.is_current
    assert len(found.untold) == len(found.drawn) == 4
    assert "4 of which nobody says what files are theirs" in list(found.lines())[-1]


def test_records_that_origins_do_not_name_are_counted_and_not_new(world: World) -> None:
    origins = world.out / "set" / "toys" / "origins.jsonl"
    lines = origins.read_bytes().splitlines(keepends=True)
    origins.chmod(0o644)
    origins.write_bytes(b"".join(lines[1:]))
    with pytest.raises(CorruptShard, match=r"origins\.jsonl: sha256 is"):
        look(world)
    replace(Manifest.load(origins.parent), files={}).write(origins.parent)  # of an older version: it has no hash
    found = look(world, sample=99)
    assert (found.is_current, found.new, len(found.drawn)) == (True, (), 9)
    assert len(found.same) + len(found.untold) == 10
    assert found.untold


def test_a_source_that_names_no_files_is_drawn_again_alone(tmp_path: Path) -> None:
    source: Any = ToySource(broken={"image003": "torn"})
    build = Build(tmp_path / "toys", source)
    build.run()
    sample: Any = {"sample": 99}
    found = against_source(tmp_path / "toys", source, build.plan, **sample)
    assert (found.is_current, len(found.untold), len(found.drawn)) == (True, 10, 9)
    found = against_source(tmp_path / "toys", replace(source, words=" again"), build.plan, **sample)
    assert set(found.differing.values()) == {"meta has another sentences"}
    changed: Any = replace(source, n_images=11)
    found = against_source(tmp_path / "toys", changed, build.plan)
    assert found.new == ("image010",)
    assert found.choices == ("source.images: 11 here, 10 in the set",)


def test_an_order_that_changed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source: Any = ToySource()
    build = Build(tmp_path / "toys", source, settings=SETTINGS)
    build.run()
    monkeypatch.setattr(ToySource, "keys", lambda self, split: [f"image{n:03d}" for n in reversed(range(10))])
    found = against_source(tmp_path / "toys", source, build.plan)
    assert found.reordered
    assert not found.is_current
    assert next(found.lines()).startswith("ORDER")


def test_annotations_that_all_depend_on_are_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "shared_sha256", lambda source, split: "another")
    found = look(world)
    assert (found.shared, len(found.same)) == (True, 10)
    assert next(found.lines()).startswith("CHANGED annotations, lists or class names")
