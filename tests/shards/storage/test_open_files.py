"""Open files: as many as a process has descriptors for, opened for each read beyond that, none that was replaced."""

from __future__ import annotations

import gc
import os
import random
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shards import verify
from shards.errors import ContractError, CorruptShard
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage.cache import ShardCache
from shards.storage.open_files import FILES, FilePool, by_opening, lend_plain, most_files, read_plain, wasted
from shards.storage.storage import open_folder
from tests.shards.toy_set import write_toy_set

N_SHARDS = 1100


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> None:
    """What earlier tests read stays open, up to a quarter of all descriptors, which is all of the few here."""
    FILES._recent.clear()
    gc.collect()


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
    assert FILES.n_open <= most_files()
    assert len({id(tar) for batch in held for tar in batch._sources}) > most_files()


def test_1100_cached_shards_are_read_with_256_descriptors(many: Path, tmp_path: Path, few_descriptors: None) -> None:
    with ShardCache(tmp_path, 10**9) as cache:
        shards = ShardSet.open(f"file://{many}", cache=cache)
        held = [shards.hold(shard) for shard in range(N_SHARDS)]
        assert {len(hold()) for hold in held} == {shards.manifest.shards[0].tar_bytes}
        assert cache.n_fetched == 1, "equal tars have one place"


def test_a_pool_opens_reads_and_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shards.storage.open_files.most_files", lambda: 2)
    paths = [tmp_path / str(number) for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100)
    pool, before = FilePool(), descriptors()
    for path in paths:
        pool.file(path)
    assert pool.n_open == 2
    held = [pool.file(path) for path in paths]
    assert descriptors() - before == pool.n_open == 2
    assert [tar[5:7].tolist() for tar in held] == [[number, number] for number in range(4)]
    assert [len(tar[90:200]) for tar in held] == [10] * 4
    part = held[0][50:]
    del held
    gc.collect()
    assert descriptors() - before == pool.n_open == 0
    assert part.tolist() == [0] * 50, "what was read is one's own"
    pool.file(paths[3])
    assert pool.n_open == 1, "there is room again"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_replaced_file_is_opened_anew_and_one_that_was_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 10)
    pool = FilePool()
    before = pool.file(path)
    (tmp_path / "new").write_bytes(b"b" * 10)
    (tmp_path / "new").replace(path)
    assert (bytes(before[:1]), bytes(pool.file(path)[:1])) == (b"a", b"b")

    for tar in (pool.file(path), by_opening(path, 10)):
        path.write_bytes(b"b" * 10)
        assert bytes(tar[2:10]) == b"b" * 8
        path.write_bytes(b"b" * 4)
        with pytest.raises(CorruptShard, match="ends before byte 10"):
            tar[2:10]


def test_a_shard_replaced_by_another_size_is_named(damaged: Path) -> None:
    shards = ShardSet.open(damaged)
    (damaged / "toy-000001.tar").unlink()
    (damaged / "toy-000001.tar").write_bytes(b"x" * 5000)
    with pytest.raises(CorruptShard, match=r"toy-000001\.tar: has 5000 bytes"):
        shards.record(5).payload("mask")


@pytest.mark.parametrize("name", ["toy-000001.tar", "toy-000001.idx", "manifest.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop of links"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(damaged: Path, name: str, kind: str) -> None:
    path = damaged / name
    path.unlink()
    {"pipe": os.mkfifo, "folder": Path.mkdir, "loop of links": lambda path: path.symlink_to(path)}[kind](path)
    with pytest.raises(ContractError, match=name):
        ShardSet.open(damaged)
    assert any(name in fault for fault in verify.find_faults(damaged))


def test_several_places_are_filled_by_few_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those within 8 KB of each other by one; a file that ends in the middle is an error and fills nothing twice."""
    payload = bytes(range(256)) * 400
    (tmp_path / "tar").write_bytes(payload)
    tar, calls, read = FilePool().file(tmp_path / "tar"), [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: calls.append(given) or read(*given))
    places = [(3, 10), (13, 5), (2000, 700), (60_000, 9), (61_000, 400)]
    parts = [(start, memoryview(bytearray(length))) for start, length in places]
    tar.scatter(parts)
    assert [bytes(target) for _, target in parts] == [payload[start : start + length] for start, length in places]
    assert len(calls) == 2
    os.truncate(tmp_path / "tar", 61_100)
    with pytest.raises(CorruptShard, match="ends before byte 61400"):
        tar.scatter(parts)


def test_neighbours_are_filled_by_one_read_and_what_lies_between_is_left_out(tmp_path: Path) -> None:
    payload = bytes(range(256)) * 40
    (tmp_path / "tar").write_bytes(payload)
    tar = FilePool().file(tmp_path / "tar")
    between = wasted([10, 300], [10, 512])
    assert between is not None
    assert tar.run is not None
    assert [len(part) for part in between] == [0, 212]
    rows = [memoryview(bytearray(length)) for length in (7, 290, 20)]
    tar.run([rows[0], between[0], rows[1], between[1], rows[2]], 3, 532)
    assert b"".join(rows) == payload[3:300] + payload[512:532]
    assert wasted([10], [9]) is None  # in another order than in the tar
    assert wasted([10], [10_000]) is None
    with pytest.raises(CorruptShard, match="ends before byte"):
        tar.run(rows, len(payload) - 300, len(payload) + 17)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop of links"])
def test_what_is_no_plain_file_is_not_copied(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.tar"
    {"pipe": os.mkfifo, "folder": Path.mkdir, "loop of links": lambda path: path.symlink_to(path)}[kind](path)
    with pytest.raises(ContractError, match=r"x\.tar"):
        open_folder(tmp_path).bring("x.tar", tmp_path / "copy")


@pytest.mark.parametrize("n_bytes", [0, 1, 5000, 5 * 2**20])
def test_a_small_file_is_read_whole_into_new_memory_or_lent(tmp_path: Path, n_bytes: int) -> None:
    payload, other = random.Random(n_bytes).randbytes(n_bytes), tmp_path / "other"
    (tmp_path / "file").write_bytes(payload)
    other.write_bytes(b"x" * 3)
    assert read_plain(tmp_path / "file") == payload
    assert lend_plain(str(other)) == b"xxx"
    lent = lend_plain(str(tmp_path / "file"))
    assert lent == payload
    with ThreadPoolExecutor(1) as pool:  # another thread has other memory
        assert pool.submit(lend_plain, str(other)).result() == b"xxx"
    assert lent == payload


@pytest.mark.parametrize("said", [0, 10, 70])
def test_a_file_that_changes_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int
) -> None:
    """As what has grown, or was cut, since its size was looked at."""
    (tmp_path / "file").write_bytes(bytes(range(50)))
    of = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = list(of(descriptor))
        found[stat.ST_SIZE] = said
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", fstat)
    assert read_plain(tmp_path / "file") == lend_plain(tmp_path / "file") == bytes(range(50))
