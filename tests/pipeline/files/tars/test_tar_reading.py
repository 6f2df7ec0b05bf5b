"""Members of tars at random: plain and gzipped, from threads and other processes, damaged, empty, and written again."""

from __future__ import annotations

import bz2
import os
import pickle
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.files.tars import reading, unpacked
from pipeline.files.tars.index import KeptIndexes, Member
from pipeline.files.tars.places import LocalTars, RemoteTars, TarFile, fits, names_of, place_of
from pipeline.files.tars.reading import TarReader
from shards.errors import ConfigError, Reject, SourceError, StoreFailed
from shards.storage import store
from shards.storage.retry import Retry
from shards.storage.store import Store
from tests.fault_proxy import Fault, FaultProxy
from tests.pipeline.tar_files import header, write_tar
from tests.s3_server import BUCKET, S3Server, options_at

FILES = {
    "0001.jpg": b"picture",
    "0001.txt": b"a cat",
    "sub/0002.seg.PNG": b"label",
    "nosuffix": b"x",
    "._0001.jpg": b"",
}


def reader_of(tmp_path: Path, place: Any = None) -> TarReader:
    return TarReader(place or LocalTars(tmp_path), str(tmp_path / "indexes"))


def only(reader: TarReader, pattern: str = "*.t*") -> TarFile:
    (tar,) = reader.place.tars(pattern)
    return tar


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz")])
def test_samples_end_at_the_first_dot_and_are_read_by_threads(name: str, mode: str, tmp_path: Path) -> None:
    write_tar(tmp_path / name, FILES, mode)
    reader = pickle.loads(pickle.dumps(reader_of(tmp_path)))
    samples = reader.samples(tar := only(reader))
    assert {sample: set(parts) for sample, parts in samples.items()} == {
        "0001": {"jpg", "txt"},
        "sub/0002": {"seg.png"},
    }
    wanted = [samples["0001"]["jpg"], samples["0001"]["txt"], samples["sub/0002"]["seg.png"]] * 20
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda member: reader.read(tar, [member]), wanted))
    assert found == [[b"picture"], [b"a cat"], [b"label"]] * 20
    assert reader.read(tar, wanted[:3]) == [b"picture", b"a cat", b"label"], "and together"


def test_damaged_missing_and_packed_tars_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    (tmp_path / "b.tar").write_bytes(b"\x1f\x8bno gzip")
    (tmp_path / "c.tar").write_bytes(bz2.compress(bytes(2000)))
    (tmp_path / "d.tar").mkdir()
    reader = reader_of(tmp_path)
    tars = reader.place.tars("*.tar")
    for tar, match in zip(
        tars, ("its header at byte 0", "cannot be read as a tar", "packed by bzip2", "is no plain file"), strict=True
    ):
        with pytest.raises(SourceError, match=rf"/{tar.name}: .*{match}"):
            reader.samples(tar)
    with pytest.raises(SourceError, match=r"(?s)a\.tar.*b\.tar.*c\.tar.*\nand 1 more tars$"):
        reader.make_indexes(tars)
    with pytest.raises(SourceError, match=r"none\.tar: cannot be read as a tar"):
        reader.samples(TarFile("none.tar", 7, ""))
    (tmp_path / "e.tar").write_bytes(header(size=b"\x80" + b"\x7f" * 11))  # more than 64 bits hold
    assert reader.index(only(reader, "e.tar")).samples["a"]["jpg"].size > reading.MOST_BYTES
    for pattern in ("none-{1..2}.tar", "{0..1}/*.tar", "{a,b}.tar"):
        with pytest.raises(
            SourceError, match=r"\.tar: there is no such tar; look at the pattern\. Braces hold numbers"
        ):
            reader.place.tars(pattern)


def test_a_gzipped_tar_of_nothing_but_zeros_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "_ANY_BYTES", 1 << 16)
    write_tar(tmp_path / "a.tgz", {"1.jpg": bytes(1 << 22)}, "w:gz")
    with pytest.raises(SourceError, match=r"a\.tgz: is more than 100 times as large unpacked"):
        reader_of(tmp_path).samples(only(reader_of(tmp_path)))
    write_tar(tmp_path / "a.tgz", {"1.jpg": os.urandom(1 << 22)}, "w:gz")
    monkeypatch.setattr(unpacked.tempfile, "TemporaryFile", partial(open, "/dev/full", "wb"))
    with pytest.raises(SourceError, match=r"cannot be unpacked into .*: No space left on device\. Make room there"):
        reader_of(tmp_path).samples(only(reader_of(tmp_path)))


def test_one_file_of_one_sample_twice_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0001.jpg": b"1", "0001.JPG": b"2"})
    reader = reader_of(tmp_path)
    with pytest.raises(SourceError, match=r"a\.tar: holds '0001.jpg' and '0001.JPG', which are one file of one sample"):
        reader.samples(only(reader))


def test_headers_are_read_once_and_again_where_a_tar_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []
    walk = reading.walk
    monkeypatch.setattr(reading, "walk", lambda read, n, where: (walked.append(where), walk(read, n, where))[1])
    path = write_tar(tmp_path / "a.tar", FILES)
    for _ in range(2):  # processes
        reader = reader_of(tmp_path)
        reader.make_indexes([only(reader)])
        assert set(reader.samples(only(reader))) == {"0001", "sub/0002"}
    assert len(walked) == 1
    write_tar(path, {"7.jpg": b"x"}, mtime=5)
    os.utime(path, ns=(0, 5))
    assert set(reader.samples(only(reader))) == {"7"}
    assert len(walked) == 2
    (kept,) = (tmp_path / "indexes").glob("*/*.npz")
    for damage in (kept.read_bytes()[:-30], b"", b"PK\x03\x04" * 9):
        kept.write_bytes(damage)
        assert set(reader_of(tmp_path).samples(only(reader))) == {"7"}
    assert len(walked) == 5


def test_a_tar_that_is_written_again_while_it_is_read_gives_nothing_of_another(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", FILES)
    reader = reader_of(tmp_path)
    tar = only(reader)
    members = reader.samples(tar)["0001"]
    write_tar(path, {"0001.jpg": b"another", "0001.txt": b"a dog"}, mtime=7)  # of one length
    with pytest.raises(
        SourceError, match=r"a\.tar: changed while it was read: it is another one: 0001.txt is not where"
    ):
        reader.read(tar, [members["txt"]])
    with path.open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(SourceError, match=r"it is 10752 bytes, and had 10240"):
        reader.read(tar, [members["txt"]])
    path.unlink()
    with pytest.raises(SourceError, match="No such file"):
        reader.read(tar, [members["txt"]])


def test_a_tar_in_the_place_of_one_of_the_same_size_and_time_is_read_at_the_second_try(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", FILES)
    os.utime(path, ns=(0, 0))
    reader_of(tmp_path).samples(only(reader_of(tmp_path)))
    write_tar(path, {"7.jpg": b"x", "0001.jpg": b"another"})
    os.utime(path, ns=(0, 0))
    reader = reader_of(tmp_path)
    with pytest.raises(SourceError, match="Run it again"):
        reader.read(only(reader), [reader.samples(only(reader))["0001"]["jpg"]])
    reader = reader_of(tmp_path)
    assert set(reader.samples(only(reader))) == {"7", "0001"}
    assert reader.read(only(reader), [reader.samples(only(reader))["0001"]["jpg"]]) == [b"another"]


def test_files_that_a_tar_ends_before_and_huge_ones_cost_themselves(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 512, "2.jpg": b"y" * 2000})
    path.write_bytes(path.read_bytes()[:2000])
    reader = reader_of(tmp_path)
    tar = only(reader)
    assert reader.index(tar).cut_at == 1024
    assert reader.read(tar, [reader.samples(tar)["1"]["jpg"]]) == [b"x" * 512]
    with pytest.raises(Reject, match=r"a\.tar: ends inside of 2\.jpg; copy it again"):
        reader.read(tar, [reader.samples(tar)["2"]["jpg"]])
    with pytest.raises(Reject, match=r"2\.jpg has 1099511627776 bytes; up to 1073741824 of a file are read"):
        reader.read(tar, [Member("2.jpg", 1536, 1 << 40, 0)])


def test_memory_does_not_grow_with_the_number_of_tars(tmp_path: Path) -> None:
    for number in range(20):
        write_tar(tmp_path / f"{number:02d}.tar", {"a.jpg": bytes([number])})
    reader = reader_of(tmp_path)
    tars = reader.place.tars("*.tar")
    for _ in range(2):
        assert [reader.read(tar, [reader.samples(tar)["a"]["jpg"]])[0][0] for tar in tars] == list(range(20))
    assert len(reader._indexes) == reading._KEPT < len(tars)


def test_a_folder_for_indexes_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot hold the indexes of tars: .*Name another folder.*source\.indexes"):
        KeptIndexes(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("path", "pattern", "is_one"),
    [
        ("a/b.tar", "a/*.tar", True),
        ("a/b/c.tar", "a/*.tar", False),
        ("a/b/c.tar", "a/**/*.tar", True),
        ("a/c.tar", "a/**/*.tar", True),
        ("a/c.tar", "**/b/*.tar", False),
        ("a/00[1].tar", "a/00?[1]*", True),
    ],
)
def test_patterns_are_those_of_folders(path: str, pattern: str, is_one: bool, tmp_path: Path) -> None:
    assert fits(path.split("/"), pattern.split("/")) is is_one
    write_tar(tmp_path / path, {})
    assert bool(list(tmp_path.glob(pattern))) is is_one


def test_numbers_in_braces_are_names() -> None:
    assert names_of("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert names_of("{0..1}/{0..1}") == ["0/0", "0/1", "1/0", "1/1"]
    for pattern in ("{5..4}.tar", "{0..10000000}.tar", "{0..9999}/{0..9999}"):
        with pytest.raises(ConfigError, match="stands for"):
            names_of(pattern)


class Counted:
    """A place whose requests are counted."""

    def __init__(self, place: RemoteTars) -> None:
        self.place, self.parts = place, list[tuple[int, int]]()

    def __str__(self) -> str:
        return str(self.place)

    def tars(self, pattern: str) -> list[TarFile]:
        return self.place.tars(pattern)

    def read(self, tar: TarFile, start: int, end: int) -> bytes:
        payload = self.place.read(tar, start, end)
        self.parts.append((start, len(payload)))
        return payload


def in_bucket(port: int, files: Sequence[Path]) -> str:
    url = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"
    for path in files:
        Store.open(url, options_at(port)).write(f"train/{path.name}", path.read_bytes())
    return url


def test_tars_in_a_bucket_are_read_in_parts(s3_server: S3Server, tmp_path: Path) -> None:
    large = {f"{number}.jpg": bytes([number]) * 3_000_000 for number in range(3)}
    small = {f"{number}.{kind}": b"%d" % number for number in range(500) for kind in ("jpg", "txt")}
    paths = [write_tar(tmp_path / "1.tar", large | {"2.txt": b"two"}), write_tar(tmp_path / "0.tar", small)]
    url = in_bucket(s3_server.port, [*paths, write_tar(tmp_path / "2.tgz", small, "w:gz")])
    place = RemoteTars(url, s3_server.options)
    reader = reader_of(tmp_path, counted := Counted(place))
    tars = reader.place.tars("tr*/*.tar")
    assert [(tar.name, tar.n_bytes) for tar in tars] == [(f"train/{p.name}", p.stat().st_size) for p in reversed(paths)]
    assert place.tars("train/{0..1}.tar") == place.tars("*/?.tar") == pickle.loads(pickle.dumps(place)).tars("**/*.tar")
    assert all(tar.stamp for tar in tars)
    samples = reader.samples(tars[1])
    assert sum(size for _, size in counted.parts) < 500_000, "of nine million"
    counted.parts.clear()
    assert reader.read(tars[1], [samples["2"]["jpg"], samples["2"]["txt"]]) == [large["2.jpg"], b"two"]
    assert reader.read(tars[1], [samples["2"]["jpg"], samples["2"]["txt"]])[1] == b"two"
    assert len(counted.parts) == 1
    counted.parts.clear()
    assert len(reader.samples(tars[0])) == 500
    assert len(counted.parts) < 10, "small files lie close together"
    with pytest.raises(SourceError, match=r"2\.tgz: .*it is packed by gzip, .*Unpack it with `gzip -d`"):
        reader.samples(only(reader, "train/*.tgz"))
    with pytest.raises(SourceError, match=r"train/7\.tar: there is no such tar"):
        place.tars("train/7.tar")
    assert place.tars("none/*.tar") == []
    Store.open(url, s3_server.options).write("train/1.tar", paths[1].read_bytes()[::-1] * 9)
    with pytest.raises(SourceError, match="changed while it was read"):
        reader.read(tars[1], [samples["0"]["jpg"]])


def test_a_network_that_breaks_is_no_reject(
    s3_faults: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(3, 0.001, 0.01))
    url = in_bucket(s3_faults.port, [write_tar(tmp_path / "a.tar", FILES)])
    reader = reader_of(tmp_path, RemoteTars(url, options_at(s3_faults.port)))
    s3_faults.faults = [Fault("503", "a.tar", 2)]
    tar = only(reader, "train/*.tar")
    member = reader.samples(tar)["0001"]["jpg"]
    assert reader.read(tar, [member]) == [b"picture"]
    s3_faults.faults = [Fault("503", "a.tar", 99)]
    with pytest.raises(StoreFailed):
        reader.read(tar, [reader.samples(tar)["0001"]["txt"]])


class Ranges(SimpleHTTPRequestHandler):
    """A web server that gives parts of files."""

    folder = ""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words, directory=self.folder)

    def do_GET(self) -> None:
        payload = Path(self.translate_path(self.path)).read_bytes()
        start, end = self.headers["Range"].removeprefix("bytes=").split("-")
        part = payload[int(start) : int(end) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(payload)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


def test_tars_of_a_web_server_are_named_by_number(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"web/0{number}.tar", {"a.jpg": b"%d" % number * 9, "a.txt": b"a cat"})
    kind = type("Here", (Ranges,), {"folder": str(tmp_path / "web")})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        reader = reader_of(tmp_path, place_of(f"http://127.0.0.1:{server.server_port}", {}))
        tars = reader.place.tars("{00..01}.tar")
        found = [reader.read(tar, list(reader.samples(tar)["a"].values())) for tar in tars]
        server.shutdown()
    assert found == [[b"0" * 9, b"a cat"], [b"1" * 9, b"a cat"]]
    assert all(tar.stamp for tar in tars)


def test_places_say_what_they_are_not_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="storage is for URLs"):
        place_of(str(tmp_path), {"region": "x"})
    with pytest.raises(ConfigError, match=r"'source\.storage' holds 'secret_access_key'"):
        place_of("s3://bucket/x", {"secret_access_key": "never"})
    with pytest.raises(ConfigError, match=r"a web server says nothing of what it has; name the tars by their numbers"):
        place_of("http://127.0.0.1:9/x", {}).tars("*.tar")
    assert isinstance(place_of(f"file://{tmp_path}", {}), LocalTars)
