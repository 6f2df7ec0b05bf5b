"""The shards of a large set, in pages beside its manifest: the same entries, streams and faults as in the manifest."""

from __future__ import annotations

import copy
import io
import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import verify
from shards.contract import paged_shards, shard_pages
from shards.contract.canonical import canonical_json
from shards.contract.entries import ShardEntry
from shards.contract.manifest import LISTED, PAGED, Manifest, examine, version_for
from shards.contract.paged_shards import PagedShards
from shards.contract.shard_list import JoinedShards, ShardList, numbers_of
from shards.errors import ContractError, CorruptShard, IncompleteSet
from shards.reading.joined import JoinedSet
from shards.reading.mixing import Mixing
from shards.reading.order import order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage.atomic import sha256_bytes
from shards.storage.local import LocalFolder
from tests.fuzz import cases
from tests.fuzz import damaged as damaged_bytes
from tests.shards.contract.test_shard_list import COUNTS, entry, manifest_of
from tests.shards.toy_set import edit_manifest, flip_byte, write_toy_set

pytestmark = pytest.mark.usefixtures("small_is_large")
PAGES = ("shards/000000.npy", "shards/000001.npy")


class Files:
    """The files of a set in memory, and which were read."""

    def __init__(self, manifest: Manifest) -> None:
        listed, self.files = shard_pages.encoded(manifest.shards)
        self.payload = manifest._bytes(listed.to_json())
        self.seen: list[str] = []

    def read(self, name: str, sha256: str = "") -> bytes:
        self.seen.append(name)
        assert sha256_bytes(self.files[name]) == sha256
        return self.files[name]


def paged(manifest: Manifest) -> tuple[Manifest, Files]:
    files = Files(replace(manifest, version=PAGED))
    return Manifest.parse(files.payload, "toy", files.read), files


def test_they_are_the_entries_in_their_order() -> None:
    entries = tuple(entry(number) for number in (3, 1, 2, 5, 4))
    manifest, _ = paged(replace(manifest_of(0), shards=entries, counts=manifest_of(5).counts))
    shards = manifest.shards
    assert isinstance(shards, PagedShards)
    assert tuple(shards) == tuple(shards[:]) == entries
    for same in (entries, ShardList.of(entries), pickle.loads(pickle.dumps(shards)), copy.deepcopy(shards)):
        assert shards == same
        assert same == shards
    assert [shards[number] for number in range(-5, 5)] == [*entries, *entries]
    with pytest.raises(IndexError):
        shards[5]
    for name in (*COUNTS, "tar_bytes"):
        assert numbers_of(shards, name).tolist() == [getattr(one, name) for one in entries]
    joined = JoinedShards([shards, entries[:2], shards])
    assert joined == (*entries, *entries[:2], *entries)
    assert [joined[number] for number in (0, 4, 5, 6, 7, 11, -1)] == [entries[n] for n in (0, 4, 0, 1, 0, 4, 4)]


def test_it_is_written_as_it_was_and_only_where_there_are_many(tmp_path: Path) -> None:
    manifest, files = paged(manifest_of(5))
    assert manifest.to_bytes() == files.payload == replace(manifest_of(5), version=PAGED).to_bytes()
    manifest.write(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == files.payload
    assert Manifest.load(tmp_path) == manifest == replace(manifest_of(5), version=PAGED)
    with mock.patch.object(shard_pages, "LISTED_SHARDS", 1024):
        assert [version_for(number) for number in (0, 1024, 1025)] == [LISTED, LISTED, PAGED]


def test_pages_are_read_when_they_are_asked_for_and_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, files = paged(manifest_of(9))
    assert files.seen == ["shards/counts.npy"]
    for number in (4, 5, 4, 0):
        assert manifest.shards[number] == entry(number + 1)
    assert files.seen[1:] == ["shards/000002.npy", "shards/000000.npy"]
    monkeypatch.setattr(paged_shards, "_KEPT", 2)
    for number in (8, 4, 8, 0):
        assert manifest.shards[number] == entry(number + 1)
    assert files.seen[3:] == ["shards/000004.npy", "shards/000002.npy", "shards/000000.npy"]


def test_numpy_reads_the_files(paged_root: Path) -> None:
    shards = Manifest.load(paged_root).shards
    counts = np.load(paged_root / "shards" / "counts.npy")
    rows = np.concatenate([np.load(paged_root / name) for name in PAGES])
    for one, count, row in zip(shards, counts, rows, strict=True):
        assert {name: int(count[name]) for name in counts.dtype.names} == {
            name: getattr(one, name) for name in ("records", "items", "tar_bytes", "rejects")
        }
        assert row["name"].decode() == one.name
        assert (bytes(row["tar_sha256"]).hex(), bytes(row["idx_sha256"]).hex()) == (one.tar_sha256, one.idx_sha256)


def test_files_that_numpy_wrote_are_read(damaged: Path, paged_root: Path) -> None:
    """Headers may be filled up to another length, and names be longer than the longest."""
    shutil.copytree(paged_root / "shards", damaged / "shards")
    hashes = {}
    for path in (damaged / "shards").iterdir():
        file, rows = io.BytesIO(), np.load(path)
        wide = rows.astype([("name", "S40"), *rows.dtype.descr[1:]]) if rows.dtype.names[0] == "name" else rows
        np.lib.format.write_array(file, wide, version=(1, 0))
        path.write_bytes(file.getvalue())
        hashes[path.name] = sha256_bytes(file.getvalue())
    listed = {"number": 3, "page_shards": 2, "counts_sha256": hashes["counts.npy"]}
    listed |= {"pages_sha256": [hashes["000000.npy"], hashes["000001.npy"]]}
    before = Manifest.load(damaged).shards
    edit_manifest(damaged, lambda data: data.update(version=2, shards=listed))
    assert Manifest.load(damaged).shards == before
    assert list(verify.find_faults(damaged)) == []


@pytest.mark.parametrize("window", [0, 2])
def test_streams_of_both_are_equal(toy_root: Path, paged_root: Path, window: int) -> None:
    def batches(root: Path) -> Iterator[Any]:
        shards = ShardSet.open(root)
        pair = JoinedSet([shards, ShardSet.open(root)], Mixing())
        for one in (shards, pair):
            order = order_of(one, seed=1, window_shards=window)
            with BatchStream(one, order, batch_size=5, position=10, stop=60, fields=("latent", "tokens")) as stream:
                for batch in stream:
                    yield [batch.arrays[name].tobytes() for name in ("latent", "tokens")]

    found, expected = list(batches(paged_root)), list(batches(toy_root))
    assert found == expected
    assert len(found) == 20


BAD: dict[str, Any] = {
    **{name: st.sampled_from([-1, 2**62, 2**63 - 1]) for name in (*COUNTS, "tar_bytes")},
    "name": st.sampled_from(["a.b", "../x", "__x", "a b", "toy-000001"]),
}


@cases(1000)
@given(st.data())
def test_fuzz_faults_are_those_of_a_list(data: st.DataObject) -> None:
    """Of one entry at a time: pages tell the first that is wrong, a list all."""
    entries = [entry(number) for number in range(1, data.draw(st.integers(1, 6)))]
    counts = {name: sum(getattr(one, name) for one in entries) for name in COUNTS}
    if entries and data.draw(st.booleans()):
        place, name = data.draw(st.integers(0, len(entries) - 1)), data.draw(st.sampled_from(list(BAD)))
        entries[place] = replace(entries[place], **{name: data.draw(BAD[name])})
    if data.draw(st.booleans()):
        counts["items"] += 1
    manifest = replace(manifest_of(0), shards=tuple(entries), counts=counts)
    files = Files(replace(manifest, version=PAGED))
    (found, faults), (other, said) = examine(files.payload, "toy", files.read), examine(manifest.to_bytes(), "toy")
    plain = [(type(one), str(one).replace("version 2", "version 1")) for one in faults]
    # names are compared within a page first, whose words say which
    told = [(kind, text.replace("toy/shards/000000.npy", "toy/manifest.json")) for kind, text in plain]
    assert told == [(type(one), str(one)) for one in said]
    if not faults and found is not None and other is not None:
        assert found.shards == other.shards == tuple(entries)


SOUND = Files(manifest_of(3))


@cases(2000)
@given(st.sampled_from(sorted(SOUND.files)), st.data())
def test_fuzz_a_file_of_another_form_is_an_error_of_ours(name: str, data: st.DataObject) -> None:
    """Its hash is that of the manifest, as whoever writes a wrong one would say."""
    files = Files(manifest_of(3))
    values = json.loads(files.payload)
    files.files[name] = payload = data.draw(damaged_bytes(SOUND.files[name]))
    place = [sha256_bytes(SOUND.files[one]) for one in sorted(SOUND.files)].index(sha256_bytes(SOUND.files[name]))
    if name == "shards/counts.npy":
        values["shards"]["counts_sha256"] = sha256_bytes(payload)
    else:
        values["shards"]["pages_sha256"][place] = sha256_bytes(payload)
    values.pop("sha256")
    written = {**values, "sha256": sha256_bytes(canonical_json(values))}
    try:
        entries = list(Manifest.parse(json.dumps(written).encode(), "toy", files.read).shards)
    except ContractError:
        return
    assert [ShardEntry.from_json(one.to_json(), "toy") for one in entries] == entries
    assert len(entries) == 3


LISTS: dict[str, Any] = {
    "no list": [],
    "a key too few": {"number": 3},
    "no number": {"number": True},
    "a number below 0": {"number": -1},
    "pages of no shard": {"page_shards": 0},
    "a page too few": {"pages_sha256": ["0" * 64]},
    "pages that are a text": {"pages_sha256": "ab"},
    "a hash that is none": {"counts_sha256": "0" * 63},
    "more shards than there are": {"number": 4},
}


@pytest.mark.parametrize("fault", LISTS)
def test_a_wrong_list_is_refused(paged_root: Path, tmp_path: Path, fault: str) -> None:
    root = Path(shutil.copytree(paged_root, tmp_path / "toy"))
    wrong = LISTS[fault]

    def edit(data: dict[str, Any]) -> None:
        whole = isinstance(wrong, dict) and fault != "a key too few"
        data["shards"] = {**data["shards"], **wrong} if whole else wrong

    edit_manifest(root, edit)
    with pytest.raises(ContractError, match=r"manifest\.json: entries do not fit version 2: shards|counts\.npy: is no"):
        ShardSet.open(root)


def test_its_text_alone_is_not_enough(paged_root: Path) -> None:
    with pytest.raises(IncompleteSet, match="files beside it list its shards"):
        Manifest.parse((paged_root / "manifest.json").read_bytes(), "toy")


def test_a_damaged_page_ends_the_reading_of_its_shards_alone(paged_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(paged_root, tmp_path / "toy"))
    flip_byte(root / PAGES[1], 200)
    manifest = Manifest.load(root)
    assert manifest.shards[1] == Manifest.load(paged_root).shards[1]
    with pytest.raises(CorruptShard, match=r"shards/000001\.npy: sha256 is"):
        manifest.shards[2]
    (root / "toy-000000.tar").unlink()
    faults = "\n".join(verify.find_faults(root))
    assert "shards/000001.npy: sha256 is" in faults
    assert "toy-000000.tar" in faults, "what other pages list is looked at all the same"
    flip_byte(root / "shards" / "counts.npy", 200)
    with pytest.raises(CorruptShard, match=r"counts\.npy: sha256 is"):
        ShardSet.open(root)


def test_what_other_lists_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "toy"
    (root / "shards").mkdir(parents=True)
    (root / "shards" / "mine.npy").touch()
    write_toy_set(root, (1, 1, 1, 1, 1))
    (root / "shards" / "000009.npy").touch()
    assert verify.find_strays(root) == ["shards/000009.npy"]
    write_toy_set(root, (2, 1))
    assert sorted(path.name for path in (root / "shards").iterdir()) == ["000000.npy", "counts.npy", "mine.npy"]
    with mock.patch.object(shard_pages, "LISTED_SHARDS", 2):
        write_toy_set(root, (2, 1))
    assert [path.name for path in (root / "shards").iterdir()] == ["mine.npy"]
    assert isinstance(Manifest.load(root).shards, ShardList)


def test_a_set_is_none_while_its_list_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "toy"
    write_toy_set(root, (2, 1))
    original, left = LocalFolder.write, [2]

    def write(self: Any, name: str, payload: bytes) -> None:
        if name.startswith("shards/"):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        original(self, name, payload)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", write)
        with pytest.raises(KeyboardInterrupt):
            write_toy_set(root, (1, 1, 1))
    with pytest.raises(IncompleteSet):
        Manifest.load(root)
    write_toy_set(root, (1, 1, 1))
    assert list(verify.find_faults(root)) == []
