"""A copy of a set: byte-equal, going on where it ended, and refused where something else is."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.contract.manifest import Manifest
from shards.errors import ConfigError, CorruptShard, IncompleteSet
from shards.storage.atomic import sha256_bytes, temporary_path
from shards.storage.storage import Folder, open_folder
from shards.upkeep import copying
from shards.upkeep.copying import copy_set
from shards.upkeep.mending import repair_set
from shards.upkeep.publication import CARD
from shards.verify import find_faults
from tests.shards.toy_set import edit_manifest, flip_byte, write_toy_set

Somewhere = Callable[[str], Folder]


def files_of(folder: Folder) -> dict[str, bytes]:
    """All files of a place by name, of any depth."""
    if folder.is_remote:
        store: Any = folder
        return {name: store.store.read(name) for name in store.store.names()}
    root = Path(str(folder))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_copy_is_byte_equal_and_nothing_else_is_there(toy_root: Path, somewhere: Somewhere) -> None:
    said: list[tuple[int, int]] = []
    done = copy_set(open_folder(toy_root), somewhere("toy"), report=lambda *counts: said.append(counts))
    assert files_of(somewhere("toy")) == files_of(open_folder(toy_root))
    assert (done.shards, done.kept) == (3, 0)
    assert done.n_bytes == sum(shard.tar_bytes for shard in Manifest.load(toy_root).shards)
    assert said == [(1, 3), (2, 3), (3, 3)]
    again = copy_set(open_folder(toy_root), somewhere("toy"))
    assert (again.shards, again.kept) == (0, 3)
    back = open_folder(toy_root.parent / f"back-{somewhere('toy').is_remote}")
    copy_set(somewhere("toy"), back)
    assert files_of(back) == files_of(open_folder(toy_root))


def test_an_interrupted_copy_is_no_set_and_goes_on(
    toy_root: Path, somewhere: Somewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    real = copying.copy_shard

    def broken(source: Folder, target: Folder, shard: Any) -> None:
        if len(copied) == 2:
            raise OSError("the network is gone")
        copied.append(shard.name)
        real(source, target, shard)

    monkeypatch.setattr(copying, "copy_shard", broken)
    with pytest.raises(OSError, match="network"):
        copy_set(open_folder(toy_root), somewhere("toy"), threads=1)
    with pytest.raises(IncompleteSet):
        Manifest.load(somewhere("toy"))
    copied.clear()
    done = copy_set(open_folder(toy_root), somewhere("toy"), threads=1)
    assert copied == ["toy-000002"]
    assert (done.shards, done.kept) == (1, 2)
    assert files_of(somewhere("toy")) == files_of(open_folder(toy_root))


def test_a_copy_killed_between_manifest_and_clean_up_is_cleaned_up(toy_root: Path, somewhere: Somewhere) -> None:
    copy_set(open_folder(toy_root), somewhere("toy"))
    somewhere("toy").write("_copy/manifest.json", b"left")
    copy_set(open_folder(toy_root), somewhere("toy"))
    assert not somewhere("toy").exists("_copy/manifest.json")


def test_what_a_killed_writer_of_a_card_left_goes_with_the_next_copy(toy_root: Path, tmp_path: Path) -> None:
    target = open_folder(tmp_path / "copy")
    copy_set(open_folder(toy_root), target)
    left = temporary_path(tmp_path / "copy" / CARD)
    left.write_bytes(b"half")
    assert copy_set(open_folder(toy_root), target).shards == 0
    assert not left.exists()


def test_damage_on_either_side_is_named_and_nothing_half_is_left(
    toy_root: Path, damaged: Path, somewhere: Somewhere
) -> None:
    flip_byte(damaged / "toy-000001.tar", 700)
    with pytest.raises(CorruptShard, match=r"toy-000001.tar: sha256 is .* mend that set first"):
        copy_set(open_folder(damaged), somewhere("toy"))
    assert not somewhere("toy").exists("manifest.json")
    assert not somewhere("toy").exists("toy-000001.tar")
    copy_set(open_folder(toy_root), somewhere("toy"))
    shutil.copy(toy_root / "toy-000001.tar", damaged)
    flip_byte(damaged / "wids.json", 30)
    with pytest.raises(CorruptShard, match=r"wids.json: sha256 is"):
        copy_set(open_folder(damaged), open_folder(damaged.parent / f"mine-{somewhere('toy').is_remote}"))
    somewhere("toy").remove("toy-000002.tar")
    with pytest.raises(CorruptShard, match=r"1 of its shards are damaged.*toy-000002.tar.*set repair"):
        copy_set(open_folder(toy_root), somewhere("toy"))


def test_a_byte_that_flips_on_the_way_is_sent_again(
    toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, flips = open_folder(toy_root), iter([True, True, False])
    real = type(source).bring

    def bring(self: Any, name: str, path: Path) -> str:
        found = real(self, name, path)
        return "0" * 64 if next(flips, False) else found

    monkeypatch.setattr(type(source), "bring", bring)
    copy_set(source, open_folder(tmp_path / "toy"), threads=1)
    assert list(find_faults(tmp_path / "toy")) == []


def other_set(root: Path, sizes: tuple[int, ...]) -> Path:
    write_toy_set(root / "toy", sizes)
    return root / "toy"


def test_another_set_is_replaced_only_if_asked_to(toy_root: Path, tmp_path: Path, somewhere: Somewhere) -> None:
    other = other_set(tmp_path / "other", (4, 3, 4, 2))
    copy_set(open_folder(other), somewhere("toy"))
    with pytest.raises(ConfigError, match=r"holds another set:\n  their recipes are equal\n.*--replace"):
        copy_set(open_folder(toy_root), somewhere("toy"))
    for name in ("origins.jsonl", "environment.json"):
        somewhere("toy").write(name, b"of the other")
    done = copy_set(open_folder(toy_root), somewhere("toy"), replace=True)
    assert (done.shards, done.kept) == (1, 2)  # the first two are the same
    assert files_of(somewhere("toy")) == files_of(open_folder(toy_root))


def test_a_killed_replacement_goes_on_and_leaves_nothing_of_the_old_set(
    toy_root: Path, tmp_path: Path, somewhere: Somewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_set(open_folder(other_set(tmp_path / "other", (4, 3, 4, 2))), somewhere("toy"))

    def broken(*args: Any) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_shard", broken)
        with pytest.raises(OSError):
            copy_set(open_folder(toy_root), somewhere("toy"), replace=True)
    assert not somewhere("toy").exists("manifest.json")
    copy_set(open_folder(toy_root), somewhere("toy"))
    assert files_of(somewhere("toy")) == files_of(open_folder(toy_root))


def test_a_set_whose_pages_name_a_shard_twice_is_neither_copied_nor_sound(
    paged_root: Path, tmp_path: Path, somewhere: Somewhere
) -> None:
    root = Path(shutil.copytree(paged_root, tmp_path / "twice"))
    first, second = (np.load(root / f"shards/00000{number}.npy") for number in (0, 1))
    second[0] = first[0]
    np.save(root / "shards/000001.npy", second)
    sha256 = sha256_bytes((root / "shards/000001.npy").read_bytes())
    edit_manifest(root, lambda data: data["shards"]["pages_sha256"].__setitem__(1, sha256))
    with pytest.raises(CorruptShard, match=r"twice/manifest\.json: it names a shard twice"):
        copy_set(open_folder(root), somewhere("toy"))
    assert files_of(somewhere("toy")) == {}
    with pytest.raises(CorruptShard, match=r"twice/manifest\.json: it names a shard twice"):
        repair_set(root)


def test_a_copy_whose_list_is_damaged_is_refused_and_mended(
    paged_root: Path, listed_root: Path, somewhere: Somewhere
) -> None:
    copy_set(open_folder(paged_root), somewhere("toy"))
    somewhere("toy").remove("shards/000001.npy")
    somewhere("toy").write("shards/counts.npy", b"")
    with pytest.raises(CorruptShard, match=r"what lists its shards is damaged: shards/counts.npy.*set repair"):
        copy_set(open_folder(paged_root), somewhere("toy"))
    with pytest.raises(
        CorruptShard, match=r"shards/counts\.npy: sha256 is.*Only a byte-equal copy of the set has it: set r"
    ):
        repair_set(str(somewhere("toy")))
    with pytest.raises(
        CorruptShard, match=r"byte-equal copy of the set has it, and .*/toy is none \(IncompleteSet: shards/c"
    ):
        repair_set(str(somewhere("toy")), listed_root)
    assert repair_set(str(somewhere("toy")), paged_root).mended == ("shards/counts.npy", "shards/000001.npy")
    assert files_of(somewhere("toy")) == files_of(open_folder(paged_root))


def test_a_build_or_strange_tars_are_not_written_over(toy_root: Path, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "x.tar").touch()
    with pytest.raises(ConfigError, match="of unknown origin"):
        copy_set(open_folder(toy_root), open_folder(tmp_path / "toy"))
    assert os.listdir(tmp_path / "toy") == ["x.tar"]


def test_two_do_not_copy_into_one_folder(toy_root: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_root, tmp_path / "toy")
    (tmp_path / "toy" / "manifest.json").unlink()
    (tmp_path / "toy" / ".toy-000000.tar.1-ab.tmp").touch()
    descriptor = os.open(tmp_path / "toy", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConfigError, match="another process is copying"):
            copy_set(open_folder(toy_root), open_folder(tmp_path / "toy"))
        assert (tmp_path / "toy" / ".toy-000000.tar.1-ab.tmp").exists()
    finally:
        os.close(descriptor)


def test_a_web_server_is_not_written_to(toy_root: Path) -> None:
    with pytest.raises(ConfigError, match="can be read and not written"):
        copy_set(open_folder(toy_root), open_folder("https://example.invalid/x/toy"))


def test_other_lines_beside_the_shards_travel_too(damaged: Path, somewhere: Somewhere) -> None:
    (damaged / "origins.jsonl").write_text("{}\n")
    (damaged / "environment.json").write_text("[]\n")
    (damaged / "notes.txt").write_text("of nobody's business")
    copy_set(open_folder(damaged), somewhere("toy"))
    assert somewhere("toy").read("origins.jsonl") == b"{}\n"
    assert somewhere("toy").read("environment.json") == b"[]\n"  # else a build would go on in any
    assert not somewhere("toy").exists("notes.txt")
