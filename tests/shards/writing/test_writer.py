"""Writer: the same records give the same bytes, webdataset reads them, and a kill leaves nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset

from shards.contract.manifest import ShardEntry
from shards.contract.schema import Record
from shards.errors import CorruptShard, IncompleteSet, SchemaMismatch
from shards.storage.atomic import sweep
from shards.writing.writer import check_shard, seal_set, write_shard
from tests.shards.toy_set import RECIPE, SCHEMA, toy_record, toy_records, write_toy_set


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_equal_records_give_equal_files_whatever_the_folder(tmp_path: Path, toy_root: Path) -> None:
    write_toy_set(tmp_path / "elsewhere" / "toy")
    assert tree(tmp_path / "elsewhere" / "toy") == tree(toy_root)


def test_a_record_changes_only_its_own_shard(tmp_path: Path) -> None:
    first = write_shard(tmp_path, "a", SCHEMA, toy_records(0, 3))
    second = write_shard(tmp_path, "b", SCHEMA, toy_records(0, 2))
    assert first.tar_sha256 != second.tar_sha256
    assert write_shard(tmp_path, "c", SCHEMA, toy_records(0, 3)).tar_sha256 == first.tar_sha256


def test_the_bytes_of_a_shard_are_fixed(tmp_path: Path) -> None:
    """Golden hashes: a change here is a new contract version."""
    shard = write_shard(tmp_path, "golden", SCHEMA, golden_records())
    assert (shard.tar_sha256[:16], shard.idx_sha256[:16]) == ("989fbba5902b925d", "5662903e93a765ca")


def golden_records() -> Iterator[Record]:
    for record in toy_records(0, 3):
        arithmetic = {
            "latent": np.arange(16, dtype=np.float16).reshape(1, 4, 2, 2),
            "gist": np.array([0.5, 1, 2], np.float32),
            "depth": np.arange(8, dtype=np.uint16).reshape(2, 4),
        }
        yield Record(record.key, {**record.values, **arithmetic})


def test_the_tar_is_plain_ustar_without_times_and_owners_of_this_machine(toy_root: Path) -> None:
    with tarfile.open(toy_root / "toy-000000.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "shards", "shards", 0o444)
    }
    assert not any(member.pax_headers for member in members)
    assert [m.name for m in members[:7]] == [f"image0000.{field.member}" for field in SCHEMA.fields]
    text = (toy_root / "manifest.json").read_text()
    assert str(toy_root.parent) not in text
    assert os.uname().nodename not in text


def test_plain_webdataset_reads_the_tars_without_our_code(toy_root: Path) -> None:
    tars = sorted(map(str, toy_root.glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"image{number:04d}" for number in range(12)]
    for number, sample in enumerate(samples):
        values = toy_record(number).values
        for name in ("latent", "tokens", "gist", "depth"):
            np.testing.assert_array_equal(sample[f"{name}.npy"], values[name])
        assert sample["meta.json"] == values["meta"]
        assert (sample["mask.png"], sample["extra.bin"]) == (values["mask"], values["extra"])


def test_the_wids_index_names_every_tar_with_its_size(toy_root: Path) -> None:
    index = json.loads((toy_root / "wids.json").read_text())
    assert (index["__kind__"], index["wids_version"]) == ("wids-shard-index-v1", 1)
    assert [entry["nsamples"] for entry in index["shardlist"]] == [4, 3, 5]
    assert all((toy_root / entry["url"]).stat().st_size == entry["filesize"] for entry in index["shardlist"])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no records"),
        ([toy_record(1), toy_record(1)], "image0001' comes twice"),
        ([Record("a.b", {})], "key 'a.b'"),
    ],
)
def test_a_refused_shard_leaves_no_file(tmp_path: Path, records: list[Record], message: str) -> None:
    with pytest.raises(SchemaMismatch, match=message):
        write_shard(tmp_path, "s", SCHEMA, records)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_leaves_no_file_and_keeps_the_shard_before(tmp_path: Path) -> None:
    before = write_shard(tmp_path, "s", SCHEMA, toy_records(0, 3))

    def failing() -> Iterator[Record]:
        yield toy_record(0)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        write_shard(tmp_path, "s", SCHEMA, failing())
    check_shard(tmp_path, before, deep=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.idx", "s.tar"]


def test_a_killed_writer_leaves_only_what_sweep_removes(tmp_path: Path) -> None:
    script = (
        f"import sys, time; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\nfrom tests.shards.toy_set import SCHEMA, toy_records\n"
        "from shards.writing.writer import write_shard\n"
        "def slow():\n"
        "    yield from toy_records(0, 3)\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        f"write_shard(Path({str(tmp_path)!r}), 's', SCHEMA, slow())\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    left = list(tmp_path.iterdir())
    assert left
    assert not list(tmp_path.glob("*.tar")) + list(tmp_path.glob("*.idx"))
    assert sweep(tmp_path) == sorted(left)
    assert list(tmp_path.iterdir()) == []


def finalize(root: Path, shards: list[ShardEntry], **changes: object) -> None:
    settings = {
        "name": "s",
        "split": "train",
        "recipe": RECIPE,
        "schema": SCHEMA,
        "shards": shards,
        **changes,
    }
    seal_set(root, **settings)  # type: ignore[arg-type]


def test_finalize_refuses_what_is_not_as_recorded_and_writes_no_manifest(tmp_path: Path) -> None:
    one = write_shard(tmp_path, "s-0", SCHEMA, toy_records(0, 2))
    two = write_shard(tmp_path, "s-1", SCHEMA, toy_records(1, 3))
    with pytest.raises(SchemaMismatch, match="'image0001' is in s-0 and in s-1"):
        finalize(tmp_path, [one, two])
    with pytest.raises(SchemaMismatch, match="count 0 rejects, 1 were given"):
        finalize(tmp_path, [one], rejects=[{"key": "x"}])
    (tmp_path / "s-1.tar").unlink()
    with pytest.raises(IncompleteSet, match=r"s-1\.tar"):
        finalize(tmp_path, [two])
    (tmp_path / "s-0.tar").write_bytes(b"short")
    with pytest.raises(CorruptShard, match=r"s-0\.tar: has 5 bytes"):
        finalize(tmp_path, [one])
    assert not (tmp_path / "manifest.json").exists()


def test_finalize_removes_the_build_folder_and_writes_the_card(tmp_path: Path) -> None:
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "s-0.json").write_text("{}")
    shard = write_shard(tmp_path, "s-0", SCHEMA, toy_records(0, 2))
    finalize(tmp_path, [shard], card={"title": "Toy", "licence": "CC0", "mirror": "none"})
    assert not (tmp_path / "_build").exists()
    card = (tmp_path / "README.md").read_text()
    for text in (
        "**licence**: CC0",
        "**terms**: not stated",
        "**mirror**: none",
        "raw VAE posterior mean",
        '"weights": "1234"',
    ):
        assert text in card
