"""Cache: remote sets read like local ones, within a bound, checked by hash, and survive what networks do."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from shards.errors import ConfigError, CorruptShard, IncompleteSet, StoreFailed
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.window import WindowedOrder
from shards.storage import fetching, store
from shards.storage.cache import CacheConfig, ShardCache
from shards.storage.filesystem_client import FilesystemClient
from shards.storage.retry import Retry


@pytest.fixture
def toy_root(either_root: Path) -> Path:
    """Of the toy set in both forms."""
    return either_root


@pytest.fixture
def remote(toy_root: Path) -> Iterator[str]:
    """The toy set in fsspec's in-memory file system."""
    memory = fsspec.filesystem("memory")
    memory.put(str(toy_root), "/bucket/toy", recursive=True)
    yield "memory://bucket/toy"
    memory.rm("/bucket", recursive=True)


@pytest.fixture
def largest(toy: ShardSet) -> int:
    return max(shard.tar_bytes for shard in toy.manifest.shards)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(3, 0.001, 0.002))
    monkeypatch.setattr(fetching, "PATIENCE_S", 0.1)


def files_in(folder: Path) -> list[Path]:
    """All but the lock."""
    return [path for path in folder.iterdir() if path.name != ".room"]


def tokens(stream: BatchStream) -> list[list[int]]:
    with stream:
        return [batch.arrays["tokens"].ravel().tolist() for batch in stream]


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_remote_set_streams_the_same_batches_as_a_local_one(
    remote: str, toy_root: Path, toy: ShardSet, tmp_path: Path, scheme: str
) -> None:
    url = remote if scheme == "memory" else f"file://{toy_root}"
    order = WindowedOrder(toy.shard_items(), 4, 2)
    settings = {"batch_size": 5, "stop": 60, "fields": ("tokens",)}
    with ShardCache(tmp_path, 10**9) as cache:
        assert tokens(BatchStream(ShardSet.open(url, cache=cache), order, **settings)) == tokens(
            BatchStream(toy, order, **settings)
        )


def test_a_file_url_without_a_cache_is_read_in_place(toy_root: Path) -> None:
    assert ShardSet.open(f"file://{toy_root}").record(3).key == "image0003"


def test_a_remote_set_without_a_cache_is_refused(remote: str) -> None:
    with pytest.raises(ConfigError, match="is remote; open it with cache="):
        ShardSet.open(remote)


def test_a_cache_keeps_its_limit_and_evicts_the_oldest(remote: str, largest: int, tmp_path: Path) -> None:
    limit = 2 * largest + 100
    with ShardCache(tmp_path, limit) as cache:
        toy = ShardSet.open(remote, cache=cache)
        for record in (0, 5, 8, 0, 11, 4, 1, 9):
            assert toy.record(record).meta["number"] == record
            on_disk = sum(path.stat().st_size for path in files_in(tmp_path))
            assert on_disk == cache.used_bytes <= limit
        names = {shard.tar_sha256 for shard in toy.manifest.shards[::2]}  # records 1 and 9 were last
        assert {path.stem for path in tmp_path.glob("*.tar")} == names


def test_a_stream_in_a_small_cache_delivers_everything(
    remote: str, toy: ShardSet, largest: int, tmp_path: Path
) -> None:
    order = WindowedOrder(toy.shard_items(), 4, 1)
    with ShardCache(tmp_path, 3 * largest) as cache:
        opened = ShardSet.open(remote, cache=cache)
        seen = []
        with BatchStream(opened, order, batch_size=4, stop=96, fields=("latent",), threads=2) as stream:
            for batch in stream:
                seen += batch.items.tolist()
                assert cache.used_bytes <= 3 * largest
    assert sorted(seen[:24]) == list(range(24))


@pytest.mark.parametrize("order", [Order(24, 0), WindowedOrder((8, 6, 10), 0, 2)])
def test_an_order_that_needs_more_than_the_cache_holds_is_refused(
    remote: str, largest: int, tmp_path: Path, order: Order
) -> None:
    with ShardCache(tmp_path, largest) as cache:
        toy = ShardSet.open(remote, cache=cache)
        with pytest.raises(ConfigError, match="bytes, at a time, the cache holds"):
            BatchStream(toy, order, batch_size=4)


def test_a_shard_larger_than_the_cache_is_refused(remote: str, tmp_path: Path) -> None:
    with ShardCache(tmp_path, 1000) as cache:
        toy = ShardSet.open(remote, cache=cache)
        with pytest.raises(ConfigError, match="the cache holds 1000; raise"):
            toy.record(0).payload("mask")


def test_a_later_run_finds_the_files_of_an_earlier_one_and_rechecks_them(remote: str, tmp_path: Path) -> None:
    config = CacheConfig(str(tmp_path), 10**9)
    ShardSet.open(remote, cache=config).record(0).payload("mask")
    fsspec.filesystem("memory").rm("/bucket/toy/toy-000000.tar")
    assert ShardSet.open(remote, cache=config).record(0).meta["number"] == 0
    (kept,) = tmp_path.glob("*.tar")
    kept.write_bytes(b"x" * kept.stat().st_size)
    with pytest.raises(IncompleteSet, match=r"toy-000000\.tar"):  # not believed, and cannot be fetched again
        ShardSet.open(remote, cache=config).record(0).payload("mask")
    assert files_in(tmp_path) == []


def test_a_damaged_remote_shard_is_named(remote: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    data = bytearray(memory.cat_file("/bucket/toy/toy-000001.tar"))
    data[700] ^= 1
    memory.pipe_file("/bucket/toy/toy-000001.tar", bytes(data))
    with ShardCache(tmp_path, 10**9) as cache:
        toy = ShardSet.open(remote, cache=cache)
        assert toy.record(0).meta["number"] == 0
        with pytest.raises(CorruptShard, match=r"toy-000001\.tar: fetched 3 times, sha256 is"):
            toy.record(4).payload("mask")
        assert len(files_in(tmp_path)) == 1


def test_a_missing_remote_shard_is_named(remote: str, tmp_path: Path) -> None:
    fsspec.filesystem("memory").rm("/bucket/toy/toy-000001.tar")
    with ShardCache(tmp_path, 10**9) as cache:
        toy = ShardSet.open(remote, cache=cache)
        order = Order(24, 0, shuffle=False)
        with (
            pytest.raises(IncompleteSet, match=r"toy-000001\.tar"),
            BatchStream(toy, order, batch_size=4) as stream,
        ):
            assert [batch.position for batch in stream] == [0, 4]


@pytest.mark.parametrize(("failures", "works"), [(2, True), (3, False)])
def test_a_broken_connection_is_tried_again_a_few_times(
    remote: str, tmp_path: Path, failures: int, works: bool
) -> None:
    with ShardCache(tmp_path, 10**9) as cache:
        toy = ShardSet.open(remote, cache=cache)
        client, opened = toy.folder.store.client, []  # type: ignore[attr-defined]

        def flaky(name: str, start: int) -> Iterator[bytes]:
            opened.append(start)
            if len(opened) <= failures:
                yield FilesystemClient.blocks(client, name, start).__next__()[:100]
                raise ConnectionResetError("connection reset")
            yield from FilesystemClient.blocks(client, name, start)

        client.blocks = flaky
        if works:
            assert toy.record(0).meta["number"] == 0
            assert opened == [0, 100, 200], "what has come is kept"
        else:
            with pytest.raises(StoreFailed, match=r"fetching it failed 3 times, last with ConnectionResetError: conn"):
                toy.record(0).payload("mask")
            assert files_in(tmp_path) == []
            assert cache.used_bytes == 0


def test_what_is_in_use_is_not_evicted_even_where_the_limit_must_be_passed(
    remote: str, largest: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ShardCache(tmp_path, largest) as mine, ShardCache(tmp_path, largest) as another:
        held = ShardSet.open(remote, cache=mine).shard_bytes(0)
        toy = ShardSet.open(remote, cache=another)
        toy.shard_bytes(2)
        assert len(files_in(tmp_path)) == 2
        assert "over its limit" in capsys.readouterr().err
        del held
        mine.close()  # lets go of what it keeps for the next reader
        another.close()
        toy = ShardSet.open(remote, cache=ShardCache(tmp_path, largest))
        toy.shard_bytes(1)
        assert [path.stem for path in files_in(tmp_path)] == [toy.manifest.shards[1].tar_sha256]


def test_many_threads_in_a_cache_of_one_shard_neither_hang_nor_mix_up(
    remote: str, largest: int, tmp_path: Path
) -> None:
    with ShardCache(tmp_path, largest, threads=3) as cache:
        toy = ShardSet.open(remote, cache=cache)
        wrong: list[int] = []

        def read(start: int) -> None:
            for step in range(12):
                record = (start + 5 * step) % 12
                if toy.record(record).meta["number"] != record:
                    wrong.append(record)

        readers = [threading.Thread(target=read, args=(start,), daemon=True) for start in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(30)
            assert not reader.is_alive()
        assert wrong == []


def test_prefetched_shards_are_there_when_asked_for(remote: str, tmp_path: Path) -> None:
    with ShardCache(tmp_path, 10**9) as cache:
        toy = ShardSet.open(remote, cache=cache)
        toy.hold(1)
        cache.close()  # waits for what was started
        assert [path.stem for path in tmp_path.glob("*.tar")] == [toy.manifest.shards[1].tar_sha256]


def test_what_a_killed_process_was_fetching_is_removed_and_what_a_running_one_fetches_is_not(tmp_path: Path) -> None:
    dead, running = tmp_path / "aa.part", tmp_path / "bb.part"
    dead.write_bytes(b"half")
    with running.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ShardCache(tmp_path, 1000).close()
        assert files_in(tmp_path) == [running]
