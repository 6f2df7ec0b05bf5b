"""Store: a plain web server, what may be written to, and where options and credentials come from."""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shards.errors import ConfigError, IncompleteSet, StoreFailed
from shards.reading.reader import ShardSet
from shards.storage import retry, store
from shards.storage.cache import ShardCache
from shards.storage.options import Secrets, check_printable, check_printable_url, options_for, shown_url
from shards.storage.retry import Retry
from shards.storage.storage import open_folder
from shards.storage.store import Store
from tests.fault_proxy import Fault, FaultProxy, proxy_before

PROXY = "http://me:hush-hush@proxy:8080"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(3, 0.001, 0.01))


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture
def web(toy_root: Path) -> Iterator[FaultProxy]:
    """The toy set on a web server that has no ranges, behind a proxy."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(toy_root.parent)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    with proxy_before(server.server_port) as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["cut", "503", "flip"])
def test_a_set_on_a_web_server_without_ranges_survives_what_networks_do(
    web: FaultProxy, tmp_path: Path, kind: str
) -> None:
    web.faults = [Fault(kind, name) for name in ("manifest.json", "toy-000000.idx", "toy-000000.tar")]
    with ShardCache(tmp_path, 10**9) as cache:
        shards = ShardSet.open(f"http://127.0.0.1:{web.port}/toy", cache=cache)
        assert shards.record(1).meta["number"] == 1
    assert all(fault.happened for fault in web.faults)


def test_a_web_server_is_read_by_ranges_even_where_it_has_none(web: FaultProxy) -> None:
    shards = ShardSet.open(f"http://127.0.0.1:{web.port}/toy", by_range=True)
    assert shards.record(5).meta["number"] == 5


def test_a_part_of_a_large_file_is_no_whole_one(web: FaultProxy) -> None:
    store = Store.open(f"http://127.0.0.1:{web.port}/toy")
    assert store.entry("manifest.json").n_bytes == len(store.read("manifest.json"))
    with pytest.raises(StoreFailed, match=r"manifest\.json: reading a part of it is nothing this store can do"):
        store.read_part("manifest.json", 2, 9)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_a_place_says_of_its_files_tells_one_from_the_next(kind: str, tmp_path: Path) -> None:
    store = Store.open(f"{kind}://{tmp_path}/place")
    store.write("sub/a", b"abc")
    store.write("b", b"")
    before = [*store.entries("sub"), store.entry("sub/a")]
    assert [(entry.name, entry.n_bytes) for entry in before] == [("sub/a", 3)] * 2
    assert sorted(entry.name for entry in store.entries()) == store.names() == ["b", "sub/a"]
    assert store.read_part("sub/a", 1, 3) == b"bc"
    time.sleep(0.02)
    store.write("sub/a", b"abd")
    for then, now in zip(before, [*store.entries("sub"), store.entry("sub/a")], strict=True):
        assert now.stamp != then.stamp
    assert store.entries("none") == []


def test_what_is_not_there_and_who_does_not_answer_are_told_apart(web: FaultProxy) -> None:
    with pytest.raises(IncompleteSet, match="written last"):
        ShardSet.open(f"http://127.0.0.1:{web.port}/another", by_range=True)
    with pytest.raises(StoreFailed, match=r"manifest\.json: reading it failed 3 times"):
        ShardSet.open("http://127.0.0.1:1/toy", by_range=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/toy?X-Amz-Signature=abcdef", "has a query"),
        ("nothing://host/toy", "unknown kind of URL"),
        ("http://me:abcdef@[host/toy", "its host cannot be understood"),
    ],
)
def test_a_url_that_cannot_be_a_set_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Store.open(url)
    assert "abcdef" not in str(caught.value)


def test_a_web_server_is_not_written_to() -> None:
    with pytest.raises(ConfigError, match="can be read and not written"):
        Store.open("https://host/toy").write("a", b"")


def test_a_missing_bucket_is_said_where_something_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(*arguments: object) -> None:
        raise FileNotFoundError("signed: abcdef")

    place = Store.open("memory://bucket")
    monkeypatch.setattr(place.client, "put", absent)
    (tmp_path / "b").write_bytes(b"x")
    for write in (lambda: place.write("a", b""), lambda: place.upload(tmp_path / "b", "b", "")):
        with pytest.raises(StoreFailed, match=r"bucket/[ab]: .* there is no such bucket or container") as caught:
            write()
        assert "abcdef" not in "".join(traceback.format_exception(caught.value))


def test_the_text_of_a_client_is_not_chained_where_a_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise FileNotFoundError("GET https://host/x?sig=abcdef")

    folder = open_folder("memory://bucket")
    monkeypatch.setattr(folder.store.client, "read", absent)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(IncompleteSet) as caught:
        folder.read("manifest.json")
    assert "abcdef" not in "".join(traceback.format_exception(caught.value))


def test_what_no_repetition_mends_is_said_at_once(web: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(StoreFailed, match=r"failed, and would again \(GenericError: .*501 Not Implemented"):
        Store.open(f"http://127.0.0.1:{web.port}/toy").names()  # a web server lists nothing


def test_options_that_a_store_does_not_know_are_refused_without_their_values() -> None:
    with pytest.raises(ConfigError, match=r"its options \['bukcet', 'secret_access_key'\]") as caught:
        Store.open("s3://bucket/toy", {"bukcet": "x", "secret_access_key": "hush-hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("attempts", [1, 5])
def test_waits_double_and_differ_within_their_bound(attempts: int) -> None:
    retry = Retry(attempts, 1.0, 4.0)
    for failures, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        waits = {retry.wait_s(failures) for _ in range(20)}
        assert len(waits) > 1
        assert all(bound / 2 <= wait <= bound for wait in waits)
    assert list(Retry(attempts, 0, 0).tries()) == list(range(1, attempts + 1))


def test_secrets_are_taken_out_of_texts_and_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "tok-en-value")
    secrets = Secrets("https://me:pass-word@host/x", {"secret_access_key": "s3cr3t", "region": "eu-1"})
    text = "s3cr3t and tok-en-value and pass-word in eu-1 at https://host/x?sig=abc"
    assert secrets.without(text) == "*** and *** and *** in eu-1 at https://host/x?***"
    assert shown_url("https://me:pass-word@host/x?sig=1") == "https://***@host/x"
    assert shown_url("https://a-token@host/x") == "https://***@host/x"
    assert shown_url("abfss://container@account/x") == "abfss://container@account/x"
    secrets = Secrets("https://p%40ss@host/x", {"default_headers": {"Authorization": "Bearer b"}, "proxy_url": PROXY})
    assert secrets.without("p@ss, p%40ss, Bearer b, hush-hush at https://you:q@there/") == (
        "***, ***, ***, *** at https://***@there/"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "from-a\tfile\n")
    secrets = Secrets("https://host/x", {})
    assert secrets.without("Bearer from-a\tfile") == "Bearer ***"
    assert secrets.without(repr("Bearer from-a\tfile\n")) == repr("Bearer ***\n")


def test_options_come_from_profile_files_unless_the_environment_or_the_caller_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=a\naws_secret_access_key=%b\n[mine]\n")
    (tmp_path / "config").write_text("[default]\nregion=eu-1\n[profile mine]\nendpoint_url=http://here\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert options_for("s3", None) == {"access_key_id": "a", "secret_access_key": "%b", "region": "eu-1"}
    assert options_for("s3", {"profile": "mine"}) == {"endpoint": "http://here"}
    assert options_for("s3", {"key": "b", "endpoint_url": "http://there"})["access_key_id"] == "b"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c")
    assert options_for("s3", None) == {"region": "eu-1"}, "never half of a pair"


def test_a_secret_among_settings_is_refused_with_the_place_for_it() -> None:
    check_printable({"endpoint": "http://here", "region": "eu-1", "account_name": "me"}, "storage")
    for name in ("secret_access_key", "key", "access_key_id", "sas_token", "account_key", "connection_string"):
        with pytest.raises(ConfigError, match=f"setting 'storage' holds '{name}'.*AWS_ACCESS_KEY_ID"):
            check_printable({name: "x"}, "storage")
    for options, name in (({"proxy_url": PROXY}, "proxy_url"), ({"default_headers": {"Cookie": "x"}}, "Cookie")):
        with pytest.raises(ConfigError, match=f"setting 'storage' holds '{name}'") as caught:
            check_printable(options, "storage")
        assert "hush" not in str(caught.value)


def test_a_url_with_a_secret_is_no_setting() -> None:
    for url in ("s3://bucket/x", "abfss://container@account/x", "/data/a?b@c", "data/x", ""):
        check_printable_url(url, "out")
    for url in ("https://me:hush-hush@host/x", "https://hush-hush@host/x", "s3://bucket/x?signature=hush-hush"):
        with pytest.raises(ConfigError, match="setting 'out' is a URL with a password") as caught:
            check_printable_url(url, "out")
        assert "hush" not in str(caught.value)
    unclear = "https://me:hush-[hush@host/x"
    with pytest.raises(ConfigError, match="setting 'out' is https://…, whose host cannot be understood") as caught:
        check_printable_url(unclear, "out")
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"
    assert Secrets(unclear, {}).without(f"no such place: {unclear}") == "no such place: https://***"
