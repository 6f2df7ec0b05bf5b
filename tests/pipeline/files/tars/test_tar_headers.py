"""The walk of a tar from header to header: every form that is written, and every one that is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from webdataset.writer import TarWriter

from pipeline.files.tars.headers import WHOLE, Walked, walk
from shards.errors import SourceError
from tests.pipeline.tar_files import END, header, padded, write_tar

FILES = {
    "0001.jpg": b"picture",
    "sub/0001.txt": b"a cat",
    "sub/empty.txt": b"",
    "x" * 120 + ".jpg": b"long",
    "ü.jpg": b"u",
}


def walked(payload: bytes) -> Walked:
    return walk(lambda start, end: payload[start:end], len(payload), "a.tar")


def contents(payload: bytes) -> dict[str, bytes]:
    found = walked(payload)
    assert found.cut_at == WHOLE
    places = zip(found.names, found.offsets, found.sizes, strict=True)
    return {name: payload[offset : offset + size] for name, offset, size in places}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_every_format_are_where_tarfile_finds_them(form: int, tmp_path: Path) -> None:
    short = {f"{'d' * 90}/{name}": payload for name, payload in FILES.items() if len(name) < 100}
    files = short if form == tarfile.USTAR_FORMAT else FILES
    path = write_tar(tmp_path / "a.tar", files, form=form)
    assert contents(path.read_bytes()) == files
    with tarfile.open(path) as archive:
        assert walked(path.read_bytes()).offsets == [info.offset_data for info in archive]


def test_what_webdataset_writes(tmp_path: Path) -> None:
    with TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "some/0001", "jpg": b"picture", "txt": "a cat", "json": {"url": "x"}})
    assert contents((tmp_path / "a.tar").read_bytes()) == {
        "some/0001.jpg": b"picture",
        "some/0001.json": b'{"url": "x"}',
        "some/0001.txt": b"a cat",
    }


def test_folders_are_passed_over_and_a_link_s_long_name_with_its_link(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        folder = tarfile.TarInfo("sub")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("sub/a.txt"))
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/" + "x" * 200
        archive.addfile(link)
    with pytest.raises(
        SourceError, match=r"a\.tar: holds a link 'b\.jpg'; expected plain files\. Pack it again with `tar"
    ):
        walked((tmp_path / "a.tar").read_bytes())
    old = header(b"folder/", b"%011o\0" % 0, b"\0") + header() + padded(b"abc") + END
    assert contents(old) == {"a.jpg": b"abc"}


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (b"1", "a hard link 'a.jpg'"),
        (b"2", "a link"),
        (b"3", "a device"),
        (b"6", "a pipe"),
        (b"S", "a sparse file"),
        (b"V", "an entry of kind b'V'"),
    ],
)
def test_what_is_no_plain_file_is_refused(kind: bytes, match: str) -> None:
    with pytest.raises(SourceError, match=f"a.tar: holds {match}.*expected plain files"):
        walked(header(kind=kind) + padded(b"abc") + END)


@pytest.mark.parametrize("name", [b"/etc/passwd.jpg", b"../a.jpg", b"sub/../../a.jpg", b""])
def test_names_that_leave_their_folder_are_refused(name: bytes) -> None:
    with pytest.raises(SourceError, match="expected a name that stays below its folder"):
        walked(header(name) + padded(b"abc") + END)
    record = b"path=" + name + b"\n"
    record = b"%d " % (len(record) + 3) + record if len(record) + 3 > 9 else b"%d " % (len(record) + 2) + record
    pax = header(b"pax", b"%011o\0" % len(record), b"x") + padded(record)
    with pytest.raises(SourceError, match="expected a name that stays below its folder"):
        walked(pax + header() + padded(b"abc") + END)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    lines = b"".join(b"%d %s\n" % (len(record) + 4, record) for record in records)
    return header(b"pax", b"%011o\0" % len(lines), kind) + padded(lines)


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (b"no tar" * 200, "its header at byte 0 cannot be read as a tar's: b'.*' is no number; copy it again"),
        (header()[:-1] + b"x" + padded(b"abc") + END, "its checksum is another"),
        (header(size=b"\xff" * 12) + END, "it holds a number below zero"),
        (header(b"\xff.jpg") + padded(b"abc") + END, "which is no UTF-8"),
        (header(kind=b"L", size=b"%011o\0" % (1 << 30)) + END, "says that a name of 1073741824 bytes follows"),
        (pax(b"GNU.sparse.major=1") + header() + padded(b"abc") + END, "holds a sparse file"),
        (pax(b"size=-5555555") + header() + padded(b"abc") + END, "says that a file has '-5555555' bytes"),
        (pax(b"path=other.jpg", kind=b"g") + header() + padded(b"abc") + END, "one path for all of its files"),
        (header(b"pax", b"%011o\0" % 9, b"x") + padded(b"99 path=a") + END, "its extended header is damaged"),
        (header(b"pax", b"%011o\0" % 9, b"x") + padded(b"no length") + END, "its extended header is damaged"),
        (header() + padded(b"abc") + END + header() + padded(b"abc") + END, "goes on behind its end at byte 1024"),
    ],
)  # fmt: skip
def test_what_is_damaged_or_made_to_harm_is_refused(payload: bytes, match: str) -> None:
    with pytest.raises(SourceError, match=f"^a.tar.*{match}"):
        walked(payload)


def test_comments_for_all_files_and_what_nobody_asks_for_are_passed_over() -> None:
    payload = pax(b"comment=abcdef", kind=b"g") + pax(b"mtime=123456.7") + header() + padded(b"abc") + END
    assert contents(payload) == {"a.jpg": b"abc"}
    assert contents(pax(b"size=00000004") + header() + padded(b"abcd") + END) == {"a.jpg": b"abcd"}


@pytest.mark.parametrize(
    ("payload", "files", "cut_at"),
    [
        (b"", [], 0),
        (header() + padded(b"abc"), ["a.jpg"], 1024),
        (header() + padded(b"abc") + header(b"b.jpg")[:100], ["a.jpg"], 1024),
        (header() + padded(b"abc") + header(b"b.jpg") + b"a", ["a.jpg", "b.jpg"], 1024),
        (header(size=b"\x80" + b"\x7f" * 11) + padded(b"abc") + END, ["a.jpg"], 0),
        (header() + padded(b"abc") + header(kind=b"L", size=b"%011o\0" % 600) + b"name", ["a.jpg"], 1024),
    ],
)  # fmt: skip
def test_a_tar_that_is_cut_gives_what_it_holds_and_says_where(payload: bytes, files: list[str], cut_at: int) -> None:
    found = walked(payload)
    assert (found.names, found.cut_at) == (files, cut_at)
    assert all(size < 2**63 for size in found.sizes), "they are kept in 64 bits"


def test_an_empty_tar_is_one() -> None:
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w").close()
    assert contents(buffer.getvalue()) == {}
