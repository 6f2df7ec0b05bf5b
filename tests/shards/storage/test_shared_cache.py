"""A cache that several processes share: one download a machine, whatever is killed, and the oldest goes first."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shards.errors import ConfigError
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.window import WindowedOrder
from shards.storage import staging
from shards.storage.cache import ShardCache
from shards.storage.open_files import try_lock
from shards.storage.room import Room
from tests.shards.toy_set import write_toy_set

ROOT = Path(__file__).resolve().parents[3]
N_SHARDS = 24


@pytest.fixture(scope="module", autouse=True)
def _not_synced() -> Iterator[None]:
    """No waiting for the disk: nothing here is about a machine that loses power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, _not_synced: None) -> Path:
    """24 shards of 24 items."""
    root = tmp_path_factory.mktemp("sets") / "wide"
    write_toy_set(root, (12,) * N_SHARDS)
    return root


@pytest.mark.parametrize("world", [1, 4])
@pytest.mark.parametrize(("batch_size", "ahead"), [(4, 1), (32, 2)])
def test_an_epoch_downloads_every_shard_once_in_the_smallest_cache_that_is_allowed(
    wide: Path, tmp_path: Path, world: int, batch_size: int, ahead: int
) -> None:
    plain = ShardSet.open(wide)
    order = WindowedOrder(plain.shard_items(), 0, 4)
    largest = max(shard.tar_bytes for shard in plain.manifest.shards)

    caches = [ShardCache(tmp_path, 10**9) for _ in range(world)]
    sets = [ShardSet.open(f"file://{wide}", cache=cache) for cache in caches]

    def streams(limit_bytes: int) -> list[BatchStream]:
        for cache in caches:
            cache.limit_bytes = limit_bytes
        settings = {"batch_size": batch_size, "world": world, "stop": plain.n_items, "ahead": ahead, "threads": 2}
        return [BatchStream(shards, order, rank=rank, fields=("gist",), **settings) for rank, shards in enumerate(sets)]

    for n_shards in range(4, N_SHARDS + 1):
        try:
            ranks = streams(n_shards * largest)
            break
        except ConfigError:
            continue
    seen: list[int] = []
    for batches in zip(*ranks, strict=True):
        for batch in batches:
            seen += batch.items.tolist()
        assert caches[0].used_bytes <= n_shards * largest
    assert sorted(seen) == list(range(plain.n_items))
    assert sum(cache.n_fetched for cache in caches) == N_SHARDS
    assert n_shards <= (12 if batch_size == 4 else N_SHARDS)
    for rank, cache in zip(ranks, caches, strict=True):
        rank.close()
        cache.close()


def test_a_rank_that_is_slow_keeps_its_window(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fast one waits for room, then passes the limit; nothing is fetched twice for the slow one."""
    monkeypatch.setattr("shards.storage.fetching.PATIENCE_S", 0.01)
    plain = ShardSet.open(wide)
    order = WindowedOrder(plain.shard_items(), 0, 2)
    caches = [ShardCache(tmp_path, 10**9) for _ in range(2)]
    slow, fast = (
        BatchStream(ShardSet.open(f"file://{wide}", cache=cache), order, batch_size=8, rank=rank, world=2, stop=400)
        for rank, cache in enumerate(caches)
    )
    next(slow)
    for hold in slow._window.values():
        hold()  # it reads ahead; all of that is here before the limit is
    window = {path: path.stat().st_ino for path in tmp_path.glob("*.tar")}
    caches[1].limit_bytes = caches[0].used_bytes + plain.manifest.shards[0].tar_bytes
    list(fast)
    assert len(window) >= 2
    assert capsys.readouterr().err.count("over its limit") == 1
    assert {path: path.stat().st_ino for path in window} == window
    for _ in range(3):
        next(slow)
    for part in (slow, fast, *caches):
        part.close()


def test_many_threads_of_two_caches_fetch_a_shard_once(wide: Path, tmp_path: Path) -> None:
    caches = [ShardCache(tmp_path, 10**9, threads=3) for _ in range(2)]
    sets = [ShardSet.open(f"file://{wide}", cache=cache) for cache in caches]
    wrong: list[int] = []

    def read(shards: ShardSet) -> None:
        records = range(0, shards.n_records, 7)
        wrong.extend(record for record in records if shards.record(record).meta["number"] != record)

    readers = [threading.Thread(target=read, args=(shards,), daemon=True) for shards in sets * 2]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    assert not wrong
    assert sum(cache.n_fetched for cache in caches) == N_SHARDS


def test_the_shard_that_was_opened_longest_ago_goes_first_also_after_a_restart(wide: Path, tmp_path: Path) -> None:
    entries = ShardSet.open(wide).manifest.shards
    largest = max(shard.tar_bytes for shard in entries)
    with ShardCache(tmp_path, 3 * largest) as cache:
        shards = ShardSet.open(f"file://{wide}", cache=cache)
        for shard in (0, 1, 2):
            shards.shard_bytes(shard)
    with ShardCache(tmp_path, 3 * largest) as cache:
        ShardSet.open(f"file://{wide}", cache=cache).shard_bytes(0)
        assert cache.n_fetched == 0
    with ShardCache(tmp_path, 3 * largest) as cache:
        ShardSet.open(f"file://{wide}", cache=cache).shard_bytes(3)
        kept = {path.stem for path in tmp_path.glob("*.tar")}
    assert kept == {entries[shard].tar_sha256 for shard in (0, 2, 3)}


def test_a_file_that_was_written_to_is_not_believed(wide: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with ShardCache(tmp_path, 10**9) as cache:
            assert ShardSet.open(f"file://{wide}", cache=cache).record(0).meta["number"] == 0
            assert cache.n_fetched == 1
        (kept,) = tmp_path.glob("*.tar")
        with kept.open("r+b") as file:
            file.seek(700)
            file.write(b"?")


KILLED = """
import os, signal, sys
from pathlib import Path
from shards.reading.reader import ShardSet
from shards.storage.cache import ShardCache
from shards.storage.filesystem_client import FilesystemClient

moment, url, folder = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def half(self, name, start):
    yield b"half"
    die()
replace = Path.replace
def replaced(self, target):
    replace(self, target)
    die()
if moment == "fetching":
    FilesystemClient.blocks = half
if moment == "fetched":
    os.fsync = die
if moment == "renamed":
    Path.replace = replaced
ShardSet.open(url, cache=ShardCache(folder, 10**9)).shard_bytes(0)
"""


@pytest.mark.parametrize("moment", ["fetching", "fetched", "renamed"])
def test_what_a_killed_process_leaves_is_taken_over_or_removed(wide: Path, tmp_path: Path, moment: str) -> None:
    words = [sys.executable, "-c", KILLED, moment, f"file://{wide}", str(tmp_path)]
    killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix] == [".tar" if moment == "renamed" else ".part"]
    with ShardCache(tmp_path, 10**9) as cache:
        assert len(list(tmp_path.glob("*.part"))) == 0
        shards = ShardSet.open(f"file://{wide}", cache=cache)
        assert shards.record(0).meta["number"] == 0
        assert cache.n_fetched == (moment != "renamed")
        assert cache.used_bytes == shards.manifest.shards[0].tar_bytes


def test_any_order_is_allowed_where_the_whole_set_fits(wide: Path, tmp_path: Path) -> None:
    plain = ShardSet.open(wide)
    total = sum(shard.tar_bytes for shard in plain.manifest.shards)
    with ShardCache(tmp_path, total) as cache:
        shards = ShardSet.open(f"file://{wide}", cache=cache)
        with BatchStream(shards, Order(shards.n_items, 0), batch_size=32, stop=2 * shards.n_items) as stream:
            assert sum(len(batch) for batch in stream) == 2 * shards.n_items
        assert cache.n_fetched == N_SHARDS


def test_a_process_forked_while_room_is_counted_does_not_keep_it_from_others(tmp_path: Path) -> None:
    room, (reading, writing) = Room(tmp_path, 0), os.pipe()
    with room.counted():
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
    try:
        with (tmp_path / ".room").open("wb") as lock:
            assert try_lock(lock.fileno(), fcntl.LOCK_EX)
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        os.close(reading)


def test_a_staging_folder_is_not_swept_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path)
    take = fcntl.flock

    def late(file: Any, kind: int) -> None:
        if kind == fcntl.LOCK_EX:
            staging.sweep_staging()  # by another process, between the making of the file and its lock
        take(file, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with staging.staging_folder() as folder:
        staging.sweep_staging()
        (folder / "file").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []
