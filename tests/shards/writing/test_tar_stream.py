"""The tar that is written in one pass: what `tarfile` would have written, with its hash and places known at once."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from shards.contract.index import build_index
from shards.storage.storage import open_folder
from shards.writing.tar_stream import TarStream
from shards.writing.writer import write_shard
from tests.shards.toy_set import SCHEMA, toy_records


@pytest.mark.parametrize("sizes", [[], [0], [512], [1, 0, 513, 20_000], [9_000_000]])
def test_it_is_the_tar_of_the_standard_library(sizes: list[int]) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    stream, payloads, places = TarStream(ours), {f"k.{n}": bytes([n + 1]) * size for n, size in enumerate(sizes)}, []
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, payload in payloads.items():
            places.append(stream.add(name, payload[:7], memoryview(payload)[7:]))
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uname, info.gname = len(payload), 0o444, "shards", "shards"
            tar.addfile(info, io.BytesIO(payload))
    told, written = stream.end(), ours.getvalue()
    assert told == (len(written), hashlib.sha256(written).hexdigest())
    assert written == theirs.getvalue()
    assert [written[at : at + len(p)] for at, p in zip(places, payloads.values(), strict=True)] == [*payloads.values()]


def test_the_index_made_while_writing_is_that_of_the_file(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, "s", SCHEMA, toy_records(0, 5))
    build_index(tmp_path / "s.tar", SCHEMA).save(tmp_path / "walked")
    assert (tmp_path / "walked").read_bytes() == (tmp_path / "s.idx").read_bytes()
    folder = open_folder(tmp_path)
    assert (folder.sha256("s.tar"), folder.sha256("s.idx")) == (shard.tar_sha256, shard.idx_sha256)
