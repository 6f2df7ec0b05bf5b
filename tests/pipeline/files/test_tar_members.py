"""Members of tars at random: plain and gzipped, from threads and other processes, damaged and empty ones."""

from __future__ import annotations

import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.files.tar_members import Member, TarMembers
from shards.errors import Reject, SourceError

FILES = {"0001.jpg": b"picture", "0001.txt": b"a cat", "sub/0002.seg.PNG": b"label", "nosuffix": b"x"}


def tar(path: Path, mode: str = "w", files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return path


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz")])
def test_samples_end_at_the_first_dot_and_are_read_by_threads(name: str, mode: str, tmp_path: Path) -> None:
    members = pickle.loads(pickle.dumps(TarMembers(tar(tmp_path / name, mode))))
    samples = members.samples()
    assert {sample: set(parts) for sample, parts in samples.items()} == {
        "0001": {"jpg", "txt"},
        "sub/0002": {"seg.png"},
    }
    wanted = [samples["0001"]["jpg"], samples["0001"]["txt"], samples["sub/0002"]["seg.png"]] * 20
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(members.read, wanted)) == [b"picture", b"a cat", b"label"] * 20


def test_damaged_missing_and_empty_tars_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    (tmp_path / "b.tar").write_bytes(b"\x1f\x8bno gzip")
    for name in ("a.tar", "b.tar", "none.tar"):
        with pytest.raises(SourceError, match=rf"{name}: cannot be read as a tar"):
            TarMembers(tmp_path / name).samples()
    with pytest.raises(SourceError, match="holds no files named"):
        TarMembers(tar(tmp_path / "c.tar", files={"nosuffix": b""})).samples()
    with pytest.raises(Reject, match=r"ends inside of 0001\.jpg"):
        TarMembers(tar(tmp_path / "d.tar")).read(Member("0001.jpg", 10**6, 7))
