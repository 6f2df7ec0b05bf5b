"""A damaged set gets back what it lacks, and nothing else is touched; what cannot be had is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shards.contract.manifest import Manifest
from shards.errors import ConfigError, IncompleteSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep import mending
from shards.upkeep.copying import copy_set
from shards.upkeep.mending import discard, keys_of, repair_set
from shards.verify import find_faults
from tests.shards.toy_set import flip_byte, write_toy_set
from tests.shards.upkeep.test_copying import files_of

Somewhere = Callable[[str], Folder]


def broken(folder: Folder, *names: str, flip: tuple[str, ...] = ()) -> None:
    """Remove files, and flip a byte in others."""
    for name in names:
        folder.remove(name)
    for name in flip:
        data = bytearray(folder.read(name))
        data[len(data) // 2] ^= 0x40
        folder.write(name, bytes(data))


def test_only_what_is_damaged_is_fetched(toy_root: Path, somewhere: Somewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_set(open_folder(toy_root), somewhere("toy"))
    broken(
        somewhere("toy"),
        "toy-000001.tar",
        "toy-000001.idx",
        "wids.json",
        "tables/classes.json",
        flip=("toy-000002.tar", "tables/classes.safetensors"),
    )
    fetched: list[str] = []
    real = mending.copy_file

    def copy_file(source: Folder, target: Folder, name: str, *rest: Any) -> None:
        fetched.append(name)
        real(source, target, name, *rest)

    monkeypatch.setattr(mending, "copy_file", copy_file)
    done = repair_set(str(somewhere("toy")), toy_root)
    assert fetched == ["toy-000001.tar", "toy-000002.tar"]  # an index comes from its tar
    assert done.left == ()
    assert sorted(done.mended) == [
        "tables/classes.json",
        "tables/classes.safetensors",
        "toy-000001.idx",
        "toy-000001.tar",
        "toy-000002.tar",
        "wids.json",
    ]
    assert files_of(somewhere("toy")) == files_of(open_folder(toy_root))
    assert list(find_faults(somewhere("toy"))) == []
    assert repair_set(str(somewhere("toy")), toy_root).mended == ()


def test_an_index_needs_no_other_copy(damaged: Path, toy_root: Path) -> None:
    flip_byte(damaged / "toy-000000.idx", 900)
    assert repair_set(damaged).mended == ("toy-000000.idx",)
    assert files_of(open_folder(damaged)) == files_of(open_folder(toy_root))


def test_what_must_be_built_again_is_named_and_may_be_discarded(damaged: Path) -> None:
    flip_byte(damaged / "toy-000001.tar", 700)
    flip_byte(damaged / "toy-000002.tar", 0)
    (damaged / "toy-000002.idx").unlink()
    done = repair_set(damaged)
    assert [damage.name for damage in done.left] == ["toy-000001.tar", "toy-000002.tar", "toy-000002.idx"]
    folder = open_folder(damaged)
    shards = Manifest.load(damaged).shards
    assert keys_of(folder, done.manifest, shards[1]) == ["image0004", "image0005", "image0006"]
    assert keys_of(folder, done.manifest, shards[2]) == []
    discard(folder, done.left)
    assert not any((damaged / damage.name).exists() for damage in done.left)
    assert (damaged / "toy-000001.idx").exists()


def test_shards_are_known_by_their_bytes_whatever_they_are_called(
    damaged: Path, toy_root: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    copy_set(open_folder(toy_root), open_folder(other))
    (other / "toy-000001.tar").rename(other / "x.tar")
    (other / "toy-000001.idx").rename(other / "x.idx")
    manifest = Manifest.load(other)
    shards = (manifest.shards[0], replace(manifest.shards[1], name="x"), manifest.shards[2])
    replace(manifest, shards=shards).write(other)
    (damaged / "toy-000001.tar").unlink()
    (damaged / "README.md").unlink()
    done = repair_set(damaged, other)
    assert done.mended == ("toy-000001.tar",)
    assert [damage.name for damage in done.left] == ["README.md"]  # of another set it may say other things


def test_damage_of_the_other_copy_is_not_copied(damaged: Path, toy_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    copy_set(open_folder(toy_root), open_folder(other))
    flip_byte(other / "toy-000001.tar", 700)
    (damaged / "toy-000001.tar").unlink()
    assert [damage.name for damage in repair_set(damaged, other).left] == ["toy-000001.tar"]
    assert not (damaged / "toy-000001.tar").exists()


def test_sets_that_cannot_help_are_refused(damaged: Path, tmp_path: Path) -> None:
    write_toy_set(tmp_path / "else" / "toy", (1, 1))
    with pytest.raises(ConfigError, match="holds no shard of"):
        repair_set(damaged, tmp_path / "else" / "toy")
    with pytest.raises(ConfigError, match="is the set itself"):
        repair_set(damaged, damaged)
    (damaged / "manifest.json").unlink()
    with pytest.raises(IncompleteSet, match=r"manifest.json not found"):
        repair_set(damaged)


def test_a_small_file_of_other_bytes_is_seen_and_mended(damaged: Path, toy_root: Path) -> None:
    flip_byte(damaged / "README.md", 40)
    flip_byte(damaged / "rejects.jsonl", 3)
    assert list(find_faults(damaged)) != []
    assert [damage.name for damage in repair_set(damaged).left] == ["rejects.jsonl", "README.md"]
    assert repair_set(damaged, toy_root).mended == ("rejects.jsonl", "README.md")
    assert list(find_faults(damaged)) == []
