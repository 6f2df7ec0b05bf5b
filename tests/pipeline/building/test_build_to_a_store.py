"""A build into a bucket: the bytes of a local one, whole or not there, whatever it is stopped at, and nothing left."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.errors import CorruptShard, StoreFailed
from shards.reading.reader import ShardSet
from shards.storage import staging, store
from shards.storage.cache import ShardCache
from shards.storage.retry import Retry
from shards.storage.storage import RemoteFolder, open_folder
from tests.fault_proxy import Fault, FaultProxy
from tests.pipeline.toys import Build, ToySource, digests
from tests.s3_server import BUCKET, S3Server, options_at


@pytest.fixture(autouse=True)
def _private_and_quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(store, "RETRY", Retry(4, 0.001, 0.01))
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path / "staging")
    yield
    assert list(tmp_path.glob("staging/*")) == [], "nothing is left on this machine"


def in_bucket(port: int) -> RemoteFolder:
    folder = open_folder(f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/toys", storage_options=options_at(port))
    assert isinstance(folder, RemoteFolder)
    return folder


def contents(folder: RemoteFolder) -> dict[str, str]:
    return {name: hashlib.sha256(folder.store.read(name)).hexdigest() for name in folder.store.names()}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build into a folder of this machine gives."""
    build = Build(tmp_path_factory.mktemp("local") / "toys")
    build.run()
    return digests(build.folder)  # pyright: ignore[reportArgumentType]


def test_a_build_into_a_bucket_gives_the_bytes_of_a_local_one(
    s3_server: S3Server, local: dict[str, str], tmp_path: Path
) -> None:
    folder = in_bucket(s3_server.port)
    Build(folder).run()
    assert contents(folder) == local
    with ShardCache(tmp_path / "cache", 10**9) as cache:
        url = folder.store.url
        shards = ShardSet.open(url, cache=cache, storage_options=s3_server.options)
        assert [shards.record(number).key for number in (0, 9)] == ["image000", "image009"]
    again = Build(folder, ToySource(on_load=lambda key: pytest.fail("nothing is to be loaded")))
    assert again.run() == shards.manifest


def test_a_build_through_a_network_that_breaks_gives_the_same_bytes(
    s3_faults: FaultProxy, local: dict[str, str]
) -> None:
    s3_faults.faults = [
        Fault("503", "toys-000000.tar", 1, "PUT"),
        Fault("flip", "toys-000001.tar", 1, "PUT"),
        Fault("503", "toys-000001.json", 2, "PUT"),
        Fault("cut", "toys-000002.idx", 1),
        Fault("flip", "_build/toys-000000.json", 1, "PUT"),
        Fault("503", "manifest.json", 1, "PUT"),
    ]
    folder = in_bucket(s3_faults.port)
    Build(folder).run()
    assert contents(folder) == local
    assert all(fault.happened == fault.times for fault in s3_faults.faults)


def test_a_store_that_takes_nothing_ends_the_build_and_the_next_one_goes_on(
    s3_faults: FaultProxy, local: dict[str, str]
) -> None:
    folder = in_bucket(s3_faults.port)
    s3_faults.faults = [Fault("503", "toys-000001.tar", 1000, "PUT")]
    with pytest.raises(StoreFailed, match=r"toys-000001\.tar: uploading it failed 4 times, last with GenericError"):
        Build(folder).run()
    assert set(contents(folder)) == {
        *(
            "_build/environment.json",
            "_build/recipe.json",
            "_build/toys-000000.json",
            "toys-000000.idx",
            "toys-000000.tar",
            "toys-000001.idx",
        ),
    }
    s3_faults.faults = []
    loaded: list[str] = []
    Build(folder, ToySource(on_load=loaded.append)).run()
    assert sorted(loaded)[0] == "image004", "the first shard was done"
    assert contents(folder) == local


class Killed(BaseException):
    """What no clean-up may catch."""


def test_a_build_stopped_before_any_change_of_the_store_and_run_again_gives_the_same_bytes() -> None:
    def build(changes: int) -> tuple[RemoteFolder, int]:
        """Stopped at the change of that number, then run again; (folder, changes of the first run)."""
        folder = open_folder(f"memory://{uuid.uuid4().hex}/toys")
        assert isinstance(folder, RemoteFolder)
        client, done = folder.store.client, 0

        def counted(name: str) -> None:
            act = getattr(type(client), name)

            def change(*arguments: object) -> object:
                nonlocal done
                done += 1
                if done == changes:
                    raise Killed
                return act(client, *arguments)

            setattr(client, name, change)

        for name in ("put", "delete"):  # `put_file` of this client puts
            counted(name)
        source = ToySource(n_images=5)
        try:
            Build(folder, source).run()
        except Killed:
            Build(folder, source).run()
        return folder, done

    whole, changes = build(0)
    assert changes >= 14
    for change in range(1, changes + 1):
        assert contents(build(change)[0]) == contents(whole), f"stopped at change {change}"


def test_a_shard_that_somebody_changed_in_the_bucket_is_built_again(s3_server: S3Server, local: dict[str, str]) -> None:
    folder = in_bucket(s3_server.port)
    Build(folder).run()
    folder.store.client.put("toys-000001.tar", b"short")
    folder.store.client.put("toys-000002.idx", folder.store.read("toys-000000.idx"))
    with pytest.raises(CorruptShard, match=r"toys-000001\.tar: has 5 bytes"):
        folder.check_size("toys-000001.tar", 7)
    loaded: list[str] = []
    Build(folder, ToySource(on_load=loaded.append)).run()
    assert sorted(loaded)[0] == "image004"
    assert contents(folder) == local
