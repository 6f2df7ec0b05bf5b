"""A set follows its source: what changed is built again, nothing else is encoded, and the bytes are a fresh build's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.building import transaction
from pipeline.building.changes import situation
from pipeline.building.ledger import read_manifest
from pipeline.building.shard import build_shard
from pipeline.encoders import sd_vae
from pipeline.sources import image_folders, refer_file
from pipeline.views import exact
from shards.contract.manifest import Manifest
from shards.errors import FingerprintMismatch, SourceError
from shards.reading.reader import ShardSet
from shards.storage.storage import open_folder
from shards.upkeep.copying import copy_set
from shards.verify import find_faults
from tests.pipeline.toys import SETTINGS, Build, ToySource, ToyText, ToyVae, digests
from tests.s3_server import BUCKET, S3Server
from tests.shards.toy_set import write_in_pages


@dataclass
class World:
    """A folder of tiny pictures and labels, and what a build of it encodes."""

    root: Path
    out: Path

    def picture(self, name: str, seed: int, split: str = "train") -> None:
        folder = self.root / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png", compress_level=0)  # of one size, whatever is in it

    def label(self, name: str, value: int, split: str = "train") -> None:
        folder = self.root / "labels" / split
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8), value, np.uint8)).save(folder / f"{name}.png")

    def add(self, number: int) -> None:
        self.picture(f"p{number:04d}", number)
        self.label(f"p{number:04d}", number % 2)

    def remove(self, number: int) -> None:
        for side in ("images", "labels"):
            (self.root / side / "train" / f"p{number:04d}.png").unlink()

    def build(self, place: str = "set", **changes: Any) -> Build:
        source: Any = image_folders.build(str(self.root), ["sound", "crack"], splits=["train"])
        return Build(self.out / place / "toys", source, ToyVae(), None, exact.build(8), **changes)

    def encoded(self, build: Build) -> int:
        """Build, and hold it against a fresh build; how many views were encoded, as a whole number of batches."""
        build.run()
        fresh = self.build(f"fresh{len(list(self.out.iterdir()))}", settings=build.settings)
        fresh.run()
        apart = {"file_times.jsonl"}  # a file that was touched and not changed keeps the time of its last look
        for name, sha in digests(fresh.folder).items():
            assert name in apart or digests(build.folder)[name] == sha, name
        assert list(find_faults(build.folder)) == []
        return len(build.vae.shapes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "data", tmp_path / "out")
    made.out.mkdir()
    for number in range(10):
        made.add(number)
    return made


BATCHES = {  # of 3 views, in shards of 4
    "nothing": (lambda world: None, 0),
    "one picture": (lambda world: world.picture("p0005", 99), 1),
    "one label": (lambda world: world.label("p0005", 0), 0),
    "all labels": (lambda world: [world.label(f"p{n:04d}", 1) for n in range(10)], 0),
    "a touched picture": (lambda world: os.utime(world.root / "images/train/p0001.png", (5, 5)), 0),
    "a new last one": (lambda world: world.add(10), 1),
    "a new first one": (lambda world: (world.picture("o", 7), world.label("o", 1)), 1),
    "the first goes": (lambda world: world.remove(0), 0),
    "the last two go": (lambda world: [world.remove(n) for n in (8, 9)], 0),
    "two swap": (lambda world: (world.picture("p0001", 2), world.picture("p0002", 1)), 1),
}


@pytest.mark.parametrize("change", BATCHES)
def test_a_finished_set_follows_its_source_and_encodes_only_what_changed(world: World, change: str) -> None:
    build = world.build()
    build.run()
    edit, batches = BATCHES[change]
    edit(world)
    assert world.encoded(world.build()) == batches
    assert world.build().begin().is_done


def test_what_a_network_gives_does_not_depend_on_what_is_in_the_batch_beside_it(
    world: World, model_folder: Path
) -> None:
    """Taken-over latents were computed in other rows of other batches."""
    vae = sd_vae.build(str(model_folder))
    replace(world.build(), vae=vae).run()
    world.picture("o", 7)
    world.label("o", 1)
    replace(world.build(), vae=vae).run()
    fresh = replace(world.build("fresh"), vae=vae)
    fresh.run()
    assert digests(world.out / "set") == digests(world.out / "fresh")


def test_of_many_pictures_one_edited_costs_one_shard_and_a_label_none(tmp_path: Path) -> None:
    """Bar 5 of issue 13, with PICTURES=2000 as it is written there; fewer are quicker and no different."""
    world, n_pictures = World(tmp_path / "data", tmp_path / "out"), int(os.environ.get("PICTURES", "120"))
    settings = replace(SETTINGS, records_per_shard=n_pictures // 20)
    world.out.mkdir()
    for number in range(n_pictures):
        world.add(number)
    world.build(settings=settings).run()
    world.picture(f"p{n_pictures * 7 // 20:04d}", 1)
    build = world.build(settings=settings)
    assert [shard.name for shard in build.begin().todo] == ["toys-000007"]
    build.run()
    assert len(build.vae.shapes) == 1
    world.label(f"p{n_pictures * 12 // 20:04d}", 1)
    build = world.build(settings=settings)
    assert [shard.name for shard in build.begin().todo] == ["toys-000012"]
    assert world.encoded(build) == 0


def test_what_would_be_rebuilt_is_said_and_why(world: World) -> None:
    world.build().run()
    before = digests(world.out)

    def said() -> list[str]:
        build = world.build()
        found = situation(open_folder(build.folder), build.planned, build.source, "train", build.plan)
        return list(found.lines())

    assert said() == ["nothing to do"]
    world.picture("p0005", 99)
    world.label("p0009", 0)
    (world.root / "labels/train/p0000.png").unlink()
    assert said() == [
        "the finished set is brought up to date: 3 shards to build, 0 kept as they are",
        "  toys-000000: p0000: label/p0000.png changed",
        "  toys-000001: p0005: images/p0005.png changed",
        "  toys-000002: p0009: label/p0009.png changed",
        "  of these, records that did not change are taken over, and latents of pictures that did not change",
    ]
    assert digests(world.out) == before


def test_a_build_that_was_stopped_and_whose_labels_were_swapped_gives_no_mixed_set(world: World) -> None:
    build = world.build()
    begun = build.begin()

    def run_one(build: Build) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(build, "begin", lambda: _only_first(type(build).begin(build)))
            with pytest.raises(StopIteration):
                build.run()

    run_one(build)
    assert [one.shard.name for one in build.begin().situation.stale] == ["toys-000001", "toys-000002"]
    world.label("p0001", 0)
    world.label("p0000", 1)
    assert begun.manifest is None
    again = world.build()
    assert [one.why[0] for one in again.begin().situation.stale] == [
        "p0000: label/p0000.png changed",
        "is not built",
        "is not built",
    ]
    assert world.encoded(again) == 3, "the two shards that were not built; the first keeps its latents"


def _only_first(begun: Any) -> Any:
    begun.todo = begun.todo[:1]

    def stop(*_: object) -> None:
        raise StopIteration

    begun.finish = stop
    return begun


@pytest.mark.parametrize("size", ["listed", "paged"])
def test_whoever_is_killed_between_two_sets_leaves_one_that_the_next_run_ends(
    world: World, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each change of the folder in turn, while the new set takes the place of the old one."""
    if size == "paged":
        write_in_pages(monkeypatch)
    world.build().run()
    world.picture("p0005", 99)
    world.add(10)
    world.remove(9)
    fresh = world.build("fresh")
    fresh.run()
    changed = ("write", "rename", "remove", "remove_folder", "publish")

    class Stop(BaseException):
        pass

    at, stopped = 0, True
    while stopped:
        build = world.build(f"copy{at}")
        shutil.copytree(world.out / "set" / "toys", build.folder)
        with pytest.MonkeyPatch.context() as patched:
            count = [0]
            for name in changed:
                patched.setattr(f"shards.storage.local.LocalFolder.{name}", _counted(name, count, at, Stop))
            try:
                build.run()
                stopped = False
            except Stop:
                pass
        if read_manifest(build.folder) is not None:
            assert list(find_faults(build.folder)) == [], "what has a manifest is whole"
        world.build(f"copy{at}").run()
        assert digests(build.folder) == digests(fresh.folder), f"stopped at change {at}"
        at += 2
    assert at > 25


def _counted(name: str, count: list[int], at: int, stop: type[BaseException]) -> Callable[..., Any]:
    from shards.storage.local import LocalFolder

    original = getattr(LocalFolder, name)

    def wrapped(*words: Any) -> Any:
        if count[0] == at:
            raise stop
        count[0] += 1
        return original(*words)

    return wrapped


def test_a_set_in_a_bucket_follows_its_source(world: World, s3_server: S3Server) -> None:
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/toys", storage_options=s3_server.options)
    replace(world.build(), folder=folder).run()
    world.picture("p0005", 99)
    world.label("p0001", 0)
    world.remove(9)
    build = replace(world.build(), folder=folder)
    build.run()
    fresh = world.build("fresh")
    fresh.run()
    found = {name: hashlib.sha256(folder.store.read(name)).hexdigest() for name in folder.store.names()}
    assert found == digests(fresh.folder)
    assert len(build.vae.shapes) == 1


@pytest.mark.parametrize("kind", ["local", "store"])
def test_what_is_left_of_a_change_that_was_undone_goes_with_the_next_run(
    world: World, kind: str, request: pytest.FixtureRequest
) -> None:
    folder: Any = world.out / "set" / "toys"
    if kind == "store":
        options = request.getfixturevalue("s3_server").options
        folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/toys", storage_options=options)
    build = replace(world.build(), folder=folder)
    manifest = build.run()
    looked = (folder, build.planned, build.source, "train", build.plan, build.recipe)
    assert transaction.unchanged(*looked) == manifest
    world.picture("p0005", 99)
    begun = replace(world.build(), folder=folder).begin()
    assert [shard.name for shard in begun.todo] == ["toys-000001"]
    world.picture("p0005", 5)
    assert transaction.unchanged(*looked) is None, "there is something to remove"
    assert replace(world.build(), folder=folder).begin().is_done
    assert transaction.unchanged(*looked) == manifest


def test_an_update_that_loses_too_much_leaves_the_set_as_it_was(world: World) -> None:
    strict = replace(SETTINGS, max_rejects=0.1)
    world.build(settings=strict).run()
    before = digests(world.out)
    for number in range(3):
        (world.root / f"images/train/p000{number}.png").write_bytes(b"no picture")
    with pytest.raises(
        SourceError, match=r"(?s)3 of 10 examples were rejected.*finished set is as it was; the list is"
    ) as e:
        world.build(settings=strict).run()
    listed = Path(str(e.value).rsplit("the list is ", 1)[1])
    assert len(listed.read_text().splitlines()) == 3
    assert {name: sha for name, sha in digests(world.out).items() if "_build" not in name} == before
    for number in range(3):
        world.picture(f"p000{number}", number)
    world.build(settings=strict).run()
    assert set(digests(world.out)) == set(before)


def test_rejects_of_an_update_that_cannot_be_finished_are_listed_beside_the_set(world: World) -> None:
    """As where some of its shards failed."""
    world.build().run()
    (world.root / "images/train/p0000.png").write_bytes(b"no picture")
    world.picture("p0009", 99)
    build = world.build()
    begun = build.begin()
    shard, _ = begun.todo
    place, earlier = begun.order.place(begun.folder), begun.order.previous(begun.folder, shard.name)
    build_shard(shard, build.source, "train", build.plan, build.vae, None, place, build.settings, previous=earlier)
    begun.list_rejects()
    (listed,) = (build.folder / "_build" / "rejects.jsonl").read_text().splitlines()
    assert (json.loads(listed)["shard"], json.loads(listed)["key"]) == ("toys-000000", "p0000")
    assert (build.folder / "rejects.jsonl").read_bytes() == b""


def test_rejects_are_tried_again_and_a_repaired_source_mends_the_build(world: World) -> None:
    strict = replace(SETTINGS, max_rejects=0.1)
    for number in (1, 2, 9):
        (world.root / f"images/train/p000{number}.png").write_bytes(b"no picture")
    build = world.build(settings=strict)
    for _ in range(2):
        with pytest.raises(SourceError, match="3 of 10 examples were rejected"):
            build.run()
        lines = [json.loads(line) for line in (build.folder / "rejects.jsonl").read_text().splitlines()]
        assert [line["key"] for line in lines] == ["p0001", "p0002", "p0009"]
    for number in (1, 2, 9):
        world.picture(f"p000{number}", number)
    assert world.encoded(world.build(settings=strict)) == 2, "two shards, a batch each: the others' latents were there"


def test_a_reject_of_a_source_that_names_no_files_is_tried_again(tmp_path: Path) -> None:
    strict = replace(SETTINGS, max_rejects=0.0)
    broken = Build(tmp_path / "toys", ToySource(broken={"image001": "the network was away"}), settings=strict)
    with pytest.raises(SourceError, match="1 of 10"):
        broken.run()
    mended = Build(tmp_path / "toys", settings=strict)
    assert [stale.why for stale in mended.begin().situation.stale] == [
        ("image001 was rejected (the network was away), and can be used now",)
    ]
    mended.run()
    fresh = Build(tmp_path / "fresh" / "toys", settings=strict)
    fresh.run()
    assert digests(mended.folder) == digests(fresh.folder)
    assert len(mended.vae.shapes) == 1


def test_a_reject_that_the_encoder_gave_is_not_tried_for_ever(tmp_path: Path) -> None:
    def spoil(latent: np.ndarray) -> np.ndarray:
        latent[0] = np.nan
        return latent

    build = Build(tmp_path / "toys", vae=ToyVae(spoil=spoil))
    build.run()
    assert Build(tmp_path / "toys").begin().is_done


def refer_world(tmp_path: Path) -> Callable[..., Build]:
    for number in range(8):
        Image.fromarray(np.full((8, 8, 3), number * 9, np.uint8)).save(tmp_path / f"p{number}.png")

    def build(place: str, **words: str) -> Build:
        lines = [
            {"image": f"p{n}.png", "sentences": [words.get(f"p{n}", f"thing {n}"), "left one"], "box": [1, 1, 4, 4]}
            for n in range(8)
        ]
        (tmp_path / "refs.jsonl").write_text("\n".join(map(json.dumps, lines)))
        source: Any = refer_file.build(str(tmp_path), "refs.jsonl", splits=["train"], images=".", box_form="xywh")
        return Build(tmp_path / place / "toys", source, ToyVae(), ToyText(), exact.build(8))

    return build


def test_a_changed_sentence_is_the_only_one_encoded(tmp_path: Path) -> None:
    build = refer_world(tmp_path)
    build("set").run()
    changed = build("set", p3="another thing")
    changed.run()
    fresh = build("fresh", p3="another thing")
    fresh.run()
    assert digests(changed.folder) == digests(fresh.folder)
    asked = [row for row in changed.text.rows if row.any()]
    assert (len(changed.vae.shapes), len(asked)) == (0, 1)


def as_before_origins(folder: Path) -> Manifest:
    """A set as an older version wrote it, which does not say what its records were made from."""
    for name in ("origins.jsonl", "file_times.jsonl", "environment.json"):
        (folder / name).unlink()
    manifest = Manifest.load(folder)
    files = {name: sha256 for name, sha256 in manifest.files.items() if name != "origins.jsonl"}
    replace(manifest, files=files).write(folder)
    return Manifest.load(folder)


def test_a_set_of_an_older_version_is_read_and_refused_where_its_source_has_changed(world: World) -> None:
    build = world.build()
    build.run()
    manifest = as_before_origins(build.folder)
    assert ShardSet.open(str(build.folder)).n_records == 10
    assert world.build().run() == manifest
    (build.folder / "toys-000001.tar").write_bytes(b"")
    world.build().run()
    assert list(find_faults(build.folder)) == []
    world.add(10)
    with pytest.raises(FingerprintMismatch, match=r"(?s)source\.pairs: 11 here, 10 in.*of an older version"):
        world.build().run()


def test_a_build_of_an_older_version_goes_on(world: World) -> None:
    build = world.build()
    fresh = digests(world.build("fresh").run() and world.out / "fresh" / "toys")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "begin", lambda: _only_first(Build.begin(build)))
        with pytest.raises(StopIteration):
            build.run()
    ledger = build.folder / "_build"
    (ledger / "environment.json").unlink()
    entry = json.loads((ledger / "toys-000000.json").read_text())
    (ledger / "toys-000000.json").write_text(
        json.dumps({k: v for k, v in entry.items() if k not in ("origins", "times")})
    )
    world.build().run()
    new = {"origins.jsonl", "file_times.jsonl", "environment.json", "manifest.json"}
    assert "origins.jsonl" not in Manifest.load(build.folder).files
    built = {name: sha for name, sha in digests(build.folder).items() if name != "manifest.json"}
    assert built == {name: sha for name, sha in fresh.items() if name not in new}


def test_another_choice_is_another_recipe_and_no_change_of_files(world: World) -> None:
    world.build().run()
    other = world.build()
    other.source = image_folders.build(str(world.root), ["sound", "crack"], splits=["train"], zero_is_ignored=True)
    with pytest.raises(FingerprintMismatch, match=r"source\.zero_is_ignored: True here, False in"):
        other.run()


def test_another_environment_is_refused_for_new_bytes_and_recorded_where_it_is_allowed(world: World) -> None:
    world.build().run()
    world.picture("p0005", 99)
    newer = {"libraries": {"toys": "2"}}
    with pytest.raises(FingerprintMismatch, match=r"another environment:\n  libraries\.toys: '2' here, '1' in toys"):
        world.build(environment=newer).run()
    build = world.build(environment=newer, allow_changed=True)
    build.run()
    known = json.loads((build.folder / "environment.json").read_text())
    assert known == [{"libraries": {"toys": "1"}}, newer]
    assert world.build(environment=newer).run().counts["records"] == 10
    assert transaction.NEXT == "_build/next"


def test_a_copy_of_a_set_has_all_that_the_next_build_goes_on_from(world: World, tmp_path: Path) -> None:
    build = world.build()
    build.run()
    copy_set(open_folder(build.folder), open_folder(tmp_path / "copy"))
    assert digests(tmp_path / "copy") == digests(build.folder)
