"""Maps: as many as a process has descriptors for, reads at a position beyond that, none of a file that was replaced."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards.errors import CorruptShard
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage.cache import ShardCache
from shards.storage.maps import MAPS, MapPool, Positioned, most_maps, read_file
from tests.shards.toy_set import write_toy_set

N_SHARDS = 1100


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 1,100 shards: one shard under as many names, which is all that its tars differ in."""
    small = tmp_path_factory.mktemp("small") / "many"
    manifest = write_toy_set(small, (1,))
    shard = manifest.shards[0]
    named = [replace(shard, name=f"many-{number:06d}", rejects=0) for number in range(N_SHARDS)]
    for other in named[1:]:
        for suffix in ("tar", "idx"):
            (small / f"{other.name}.{suffix}").hardlink_to(small / f"{shard.name}.{suffix}")
    counts = {name: count * N_SHARDS for name, count in manifest.counts.items()} | {"rejects": 0}
    replace(manifest, shards=tuple(named), counts=counts).write(small)
    return small


def test_a_set_of_1100_shards_is_read_with_256_descriptors(many: Path, few_descriptors: None) -> None:
    shards = ShardSet.open(many)
    assert len(shards.manifest.shards) == N_SHARDS
    seen: list[int] = []
    held = []
    with BatchStream(shards, Order(shards.n_items, 0), batch_size=200, stop=shards.n_items, fields=("gist",)) as stream:
        for batch in stream:
            seen += batch.items.tolist()
            held.append(batch)  # all of their tars are in use at once
            assert batch.sample(0).meta["number"] == 0
    assert sorted(seen) == list(range(shards.n_items))
    assert MAPS.n_alive <= most_maps()
    assert any(isinstance(tar, Positioned) for batch in held for tar in batch._sources)


def test_1100_cached_shards_are_read_with_256_descriptors(many: Path, tmp_path: Path, few_descriptors: None) -> None:
    with ShardCache(tmp_path, 10**9) as cache:
        shards = ShardSet.open(f"file://{many}", cache=cache)
        held = [shards.hold(shard) for shard in range(N_SHARDS)]
        assert {len(hold()) for hold in held} == {shards.manifest.shards[0].tar_bytes}
        assert cache.n_fetched == 1, "equal tars have one place"


def test_a_pool_maps_reads_and_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.storage.maps.most_maps", lambda: 2)
    paths = [tmp_path / str(number) for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100)
    pool = MapPool()
    for path in paths:
        pool.file(path)
    assert pool.n_alive == 2
    held = [pool.file(path) for path in paths]
    assert [isinstance(tar, np.ndarray) for tar in held] == [True, True, False, False]
    assert [tar[5:7].tolist() for tar in held] == [[number, number] for number in range(4)]
    part = held[0][50:]
    del held
    gc.collect()
    assert pool.n_alive == 1
    assert part.tolist() == [0] * 50, "a slice keeps its map"
    assert isinstance(pool.file(paths[3]), np.ndarray), "there is room again"


def test_a_replaced_file_is_mapped_anew_and_one_that_was_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 10)
    pool = MapPool()
    before = pool.file(path)
    (tmp_path / "new").write_bytes(b"b" * 10)
    (tmp_path / "new").replace(path)
    assert (bytes(before[:1]), bytes(pool.file(path)[:1])) == (b"a", b"b")

    positioned = Positioned(lambda start, end: read_file(path, start, end), 10)
    path.write_bytes(b"b" * 4)
    with pytest.raises(CorruptShard, match="ends before byte 10"):
        positioned[2:10]


def test_a_shard_replaced_by_another_size_is_named(damaged: Path) -> None:
    shards = ShardSet.open(damaged)
    (damaged / "toy-000001.tar").unlink()
    (damaged / "toy-000001.tar").write_bytes(b"x" * 5000)
    with pytest.raises(CorruptShard, match=r"toy-000001\.tar: has 5000 bytes"):
        shards.record(5).payload("mask")
