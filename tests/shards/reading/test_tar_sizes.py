"""Tars of a set of many shards are looked at while it is read already, and what is wrong ends the next read."""

from __future__ import annotations

import gc
import threading
from functools import partial
from pathlib import Path

import pytest

from shards.errors import CorruptShard, IncompleteSet
from shards.reading import tar_sizes
from shards.reading.joined import JoinedSet
from shards.reading.mixing import Mixing
from shards.reading.order import order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import subset_of
from shards.storage.local import LocalFolder
from tests.shards.toy_set import write_toy_set


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard counts as many."""
    monkeypatch.setattr(tar_sizes, "FEW", 0)


@pytest.mark.parametrize("few", [1000, 3, 2])
def test_a_missing_tar_is_named_at_once_or_soon(damaged: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(tar_sizes, "FEW", few)
    (damaged / "toy-000002.tar").unlink()
    with pytest.raises(IncompleteSet, match=r"toy-000002\.tar: .* not found"):
        ShardSet.open(damaged).check_sizes()
    if few > 2:
        with pytest.raises(IncompleteSet):
            ShardSet.open(damaged)


@pytest.mark.usefixtures("many")
def test_a_sound_set_is_read_as_ever(toy_root: Path) -> None:
    shards = ShardSet.open(toy_root)
    shards.check_sizes()
    assert shards.record(0).array("gist").shape == (3,)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("how", ["record", "stream", "subset", "mixture"])
def test_what_was_found_ends_any_read_of_other_shards(damaged: Path, tmp_path: Path, how: str) -> None:
    with (damaged / "toy-000002.tar").open("ab") as file:
        file.write(b"\0")
    shards = whole = ShardSet.open(damaged)
    if how == "mixture":
        other = tmp_path / "other"
        write_toy_set(other, (2,))
        shards = JoinedSet([ShardSet.open(other), whole], Mixing())
    elif how == "subset":
        shards = subset_of(whole, whole.paged.record_ends[:1] - 1)
    with pytest.raises(CorruptShard, match=r"toy-000002\.tar"):
        shards.check_sizes()
    order = order_of(shards, seed=0, shuffle=False)
    with BatchStream(shards, order, batch_size=1, fields=("gist",), threads=0) as stream:
        read = partial(next, stream) if how == "stream" else partial(shards.record(0).array, "gist")
        with pytest.raises(CorruptShard, match=r"toy-000002\.tar"):
            read()  # of the first shard, which is sound


@pytest.mark.usefixtures("many")
def test_looking_ends_when_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch, toy_root: Path) -> None:
    """The set is let go while the first tar is looked at: the others are not."""
    looked: list[str] = []
    begun, let_go = threading.Event(), threading.Event()

    def check_size(folder: LocalFolder, name: str, expected_bytes: int) -> None:
        looked.append(name)
        begun.set()
        assert let_go.wait(60)

    monkeypatch.setattr(tar_sizes, "LATER_S", 0)
    monkeypatch.setattr(LocalFolder, "check_size", check_size)
    shards = ShardSet.open(toy_root)
    is_done = shards.sizes[0]._is_done
    assert begun.wait(60)
    del shards
    gc.collect()
    let_go.set()
    assert is_done.wait(60)
    assert looked == ["toy-000000.tar"]
