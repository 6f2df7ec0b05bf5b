"""A set behind a network that cuts, stalls, flips a byte and answers 503: the same bytes, or an error of ours."""

from __future__ import annotations

import random
import traceback
import uuid
from pathlib import Path

import pytest

from shards.errors import ContractError, CorruptShard, StoreFailed
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage import clients, store
from shards.storage.atomic import sha256_file
from shards.storage.cache import ShardCache
from shards.storage.retry import Retry
from shards.storage.store import Store
from tests.fault_proxy import KINDS, Fault, FaultProxy
from tests.s3_server import BUCKET, SECRET, S3Server, options_at

FILES = ("manifest.json", "toy-000001.idx", "toy-000001.tar", "classes.safetensors")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(4, 0.001, 0.01))


@pytest.fixture(scope="session")
def s3_toy(s3_server: S3Server, toy_root: Path) -> str:
    """The toy set in a bucket."""
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/toy"
    place = Store.open(url, s3_server.options)
    for path in toy_root.rglob("*"):
        if path.is_file():
            place.client.put(path.relative_to(toy_root).as_posix(), path.read_bytes())
    return url


def everything(url: str, folder: Path, port: int) -> list[object]:
    """Every value of a set, read in order."""
    options = {**options_at(port), "read_timeout": "300ms"}
    with ShardCache(folder, 10**9) as cache:
        shards = ShardSet.open(url, cache=cache, storage_options=options)
        arrays, info = shards.table("classes")
        found: list[object] = [shards.manifest, arrays["text"].tolist(), info]
        with BatchStream(shards, Order(shards.n_items, 0), batch_size=5, stop=24, fields=("tokens",)) as stream:
            for batch in stream:
                found.append(batch.arrays["tokens"].tolist())
                found += [batch.sample(place).meta for place in range(len(batch))]
                found += [bytes(batch.sample(place).payload("mask")) for place in range(len(batch))]
        return found


@pytest.fixture
def expected(toy_root: Path, tmp_path: Path) -> list[object]:
    with ShardCache(tmp_path / "plain", 10**9) as cache:
        shards = ShardSet.open(f"file://{toy_root}", cache=cache)
        assert shards.n_items == 24
    return everything(f"file://{toy_root}", tmp_path / "plain", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_twice_for_every_kind_of_file_still_gives_the_same_bytes(
    s3_toy: str, s3_faults: FaultProxy, expected: list[object], tmp_path: Path, kind: str
) -> None:
    s3_faults.faults = [Fault(kind, name, times=1 if kind in ("stall", "flip") else 2) for name in FILES]
    assert everything(s3_toy, tmp_path, s3_faults.port) == expected
    assert all(fault.happened == fault.times for fault in s3_faults.faults)


def outcome(url: str, folder: Path, port: int) -> list[object] | ContractError:
    try:
        return everything(url, folder, port)
    except ContractError as error:
        return error


STAYS = [(kind, name) for kind in ("cut", "503", "flip") for name in FILES]


@pytest.mark.parametrize(("kind", "name"), [stay for stay in STAYS if stay != ("flip", "manifest.json")])
def test_what_stays_broken_is_one_error_of_ours_with_the_file_and_without_the_secret(
    s3_toy: str, s3_faults: FaultProxy, expected: list[object], tmp_path: Path, kind: str, name: str
) -> None:
    s3_faults.faults = [Fault(kind, name, times=1000)]
    found = outcome(s3_toy, tmp_path, s3_faults.port)
    if kind == "cut" and name.endswith(".tar") and not isinstance(found, ContractError):
        assert found == expected  # continued, half of the rest at a time
        return
    assert isinstance(found, CorruptShard if kind == "flip" else StoreFailed)
    assert name in str(found)
    assert SECRET not in "".join(traceback.format_exception(found))


def test_a_flipped_byte_of_a_range_is_found_by_the_hash_of_its_row(s3_toy: str, s3_faults: FaultProxy) -> None:
    shards = ShardSet.open(s3_toy, storage_options=options_at(s3_faults.port), by_range=True)
    before = len(s3_faults.requests)
    assert shards.record(0).meta["number"] == 0
    assert len(s3_faults.requests) == before + 1, "one field is one request"
    s3_faults.faults = [Fault("flip", "toy-000000.tar")]
    with pytest.raises(CorruptShard, match="record image0000, field depth, row 0"):
        shards.record(0).array("depth")


def test_an_upload_that_arrives_changed_or_not_at_all_is_sent_again(
    s3_faults: FaultProxy, s3_server: S3Server, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 100)
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    sender = Store.open(url, options_at(s3_faults.port))
    s3_faults.faults = [Fault("503", "file", 1, "PUT"), Fault("flip", "file", 1, "PUT")]
    sender.upload(tmp_path / "file", "file", sha256_file(tmp_path / "file"))
    assert [fault.happened for fault in s3_faults.faults] == [1, 1]
    assert Store.open(url, s3_server.options).read("file") == (tmp_path / "file").read_bytes()
    sent = [method for method, path in s3_faults.requests if path.endswith("file")]
    assert sent[-2:] == ["PUT", "HEAD"], "the store's own MD5 says that all of it arrived"
    s3_faults.faults = [Fault("flip", "other", 1000, "PUT")]
    with pytest.raises(ContractError, match="other"):
        sender.upload(tmp_path / "file", "other", sha256_file(tmp_path / "file"))


def test_a_small_file_that_arrives_changed_is_written_again(s3_faults: FaultProxy, s3_server: S3Server) -> None:
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    s3_faults.faults = [Fault("flip", "file", 1, "PUT")]
    Store.open(url, options_at(s3_faults.port)).write("file", b"a small file")
    assert Store.open(url, s3_server.options).read("file") == b"a small file"
    s3_faults.faults = [Fault("flip", "file", 1000, "PUT")]
    with pytest.raises(CorruptShard, match="file: written 4 times"):
        Store.open(url, options_at(s3_faults.port)).write("file", b"a small file")


@pytest.mark.parametrize("in_parts", [False, True])
def test_the_tag_of_an_upload_is_known_beforehand(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_parts: bool
) -> None:
    monkeypatch.setattr(clients, "_ONE_REQUEST_BYTES", 6 << 20)
    for module in (clients, store):
        monkeypatch.setattr(module, "PART_BYTES", 5 << 20)
    (tmp_path / "file").write_bytes(random.Random(0).randbytes(11 << 20 if in_parts else 4 << 20))
    place = Store.open(f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}", s3_server.options)
    monkeypatch.setattr(place, "sha256", lambda name: pytest.fail("read back"))
    place.upload(tmp_path / "file", "file", sha256_file(tmp_path / "file"))
    assert ("-" in place.client.put_file("again", tmp_path / "file")) == in_parts


def test_credentials_that_expire_behind_an_open_reader_are_said_at_once_and_the_rest_goes_on(
    s3_toy: str, s3_faults: FaultProxy, tmp_path: Path
) -> None:
    with ShardCache(tmp_path, 10**9) as cache:
        shards = ShardSet.open(s3_toy, cache=cache, storage_options=options_at(s3_faults.port))
        assert shards.record(0).meta["number"] == 0
        s3_faults.faults = [Fault("expired", "toy-000002.tar")]
        asked = len(s3_faults.requests)
        with pytest.raises(StoreFailed, match=r"toy-000002.tar.*refused.*ExpiredToken.*have not expired"):
            shards.record(11).payload("mask")
        assert len(s3_faults.requests) == asked + 1
        assert shards.record(0).meta["number"] == 0, "what is here is read"
        assert shards.record(11).meta["number"] == 11, "and the rest once they are renewed"


@pytest.mark.parametrize("wrong", [{"secret_access_key": "another-secret"}, {"access_key_id": "stranger"}])
def test_wrong_credentials_are_said_at_once_and_not_shown(
    s3_toy: str, s3_faults: FaultProxy, wrong: dict[str, str]
) -> None:
    options = {**options_at(s3_faults.port), **wrong}
    with pytest.raises(StoreFailed, match="refused") as caught:
        ShardSet.open(s3_toy, storage_options=options, by_range=True)
    assert len(s3_faults.requests) == 1
    assert not [value for name, value in options.items() if "access" in name and value in str(caught.value)]
