"""Reader: every record and item comes back as written, and damage is named before anything is given out."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shards.errors import ConfigError, CorruptShard, IncompleteSet, SchemaMismatch
from shards.reading.order import Order
from shards.reading.reader import ItemRef, ShardSet
from shards.reading.stream import BatchStream
from tests.shards.toy_set import RUNS, SCHEMA, flip_byte, toy_record


def test_every_record_comes_back_as_written(toy: ShardSet) -> None:
    assert (toy.n_records, toy.n_items, toy.n_rows) == (12, 24, 40)
    for number in range(toy.n_records):
        record, written = toy.record(number), toy_record(number)
        assert record.key == written.key
        assert record.meta == written.values["meta"]
        for field in SCHEMA.fields:
            if field.codec == "npy":
                array = record.array(field.name)
                np.testing.assert_array_equal(array, written.values[field.name])
                assert array.flags.writeable
            elif field.codec != "json":
                assert bytes(record.payload(field.name)) == written.values[field.name]


def test_items_count_over_the_whole_set(toy: ShardSet) -> None:
    expected = [(record, *run) for record in range(12) for run in RUNS[record % 3]]
    assert [toy.item(item) for item in range(toy.n_items)] == [ItemRef(*item) for item in expected]
    assert [list(toy.items_of_record(record)) for record in range(3)] == [[0, 1], [2], [3, 4, 5]]
    assert toy.shard_items() == (8, 6, 10)
    assert sum(toy.shard_items("row")) == toy.n_rows


def test_single_rows_are_read_alone(toy: ShardSet) -> None:
    tokens = toy_record(2).values["tokens"]
    np.testing.assert_array_equal(toy.record(2).array("tokens", 3, 2), tokens[3:5])
    np.testing.assert_array_equal(toy.record(2).array("tokens", 5), tokens[5:])
    with pytest.raises(SchemaMismatch, match=r"image0002.tokens.npy: rows 5 to 7 asked for, it has 6"):
        toy.record(2).array("tokens", 5, 2)


def test_numbers_outside_the_set_are_refused(toy: ShardSet) -> None:
    for wrong in (
        lambda: toy.record(12),
        lambda: toy.record(-1),
        lambda: toy.item(24),
        lambda: toy.items_of_record(12),
    ):
        with pytest.raises(IndexError, match="toy: expected 0 to"):
            wrong()
    with pytest.raises(SchemaMismatch, match="mask is png, not npy"):
        toy.record(0).array("mask")


def test_tables_come_back_checked(toy: ShardSet, damaged: Path) -> None:
    arrays, info = toy.table("classes")
    np.testing.assert_array_equal(arrays["text"], np.eye(3, 2, dtype=np.float16))
    assert info == {"prompts": ["a", "b", "c"]}
    with pytest.raises(IncompleteSet, match=r"no table 'class', only \['classes'\]"):
        toy.table("class")
    flip_byte(damaged / "tables" / "classes.safetensors", -1)
    with pytest.raises(CorruptShard, match=r"classes\.safetensors"):
        ShardSet.open(damaged).table("classes")


@pytest.mark.parametrize("field", [field.name for field in SCHEMA.fields])
def test_one_flipped_byte_in_any_member_is_named(damaged: Path, field: str) -> None:
    record = 5
    table = ShardSet.open(damaged).index.fields[field]
    flip_byte(damaged / "toy-000001.tar", int(table.offset[record] + table.length[record]) - 1)
    opened = ShardSet.open(damaged)
    with pytest.raises(CorruptShard, match=rf"toy-000001\.tar.*image0005, field {field}, row .* at byte \d+"):
        opened.record(record).payload(field)
    for other in SCHEMA.fields:
        if other.name != field:
            opened.record(record).payload(other.name)


def test_a_flipped_byte_passes_unseen_only_when_asked_to(damaged: Path) -> None:
    flip_byte(damaged / "toy-000000.tar", int(ShardSet.open(damaged).index.fields["gist"].offset[0]))
    assert ShardSet.open(damaged, verify=False).record(0).array("gist").shape == (3,)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (
            lambda root: (root / "toy-000001.tar").unlink(),
            IncompleteSet,
            r"toy-000001\.tar: named by the manifest but not found",
        ),
        (
            lambda root: (root / "toy-000001.idx").unlink(),
            IncompleteSet,
            r"toy-000001\.idx: named by the manifest but not",
        ),
        (
            lambda root: flip_byte(root / "toy-000001.idx", -3),
            CorruptShard,
            r"toy-000001\.idx: sha256 is",
        ),
        (lambda root: (root / "manifest.json").unlink(), IncompleteSet, "manifest.json not found"),
        (
            lambda root: truncate(root / "toy-000002.tar"),
            CorruptShard,
            r"toy-000002\.tar: has \d+ bytes, the manifest says",
        ),
    ],
)
def test_a_damaged_set_does_not_open(damaged: Path, damage, error: type, message: str) -> None:
    damage(damaged)
    with pytest.raises(error, match=message):
        ShardSet.open(damaged)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[: len(data) // 2])


def test_a_tar_cut_after_opening_is_refused_at_its_first_read(damaged: Path) -> None:
    opened = ShardSet.open(damaged)
    truncate(damaged / "toy-000002.tar")
    with pytest.raises(CorruptShard, match="was cut or replaced"):
        opened.record(11).array("latent")


def test_a_cache_for_a_local_path_is_refused(toy_root: Path, tmp_path: Path) -> None:
    from shards.storage.cache import CacheConfig

    with pytest.raises(ConfigError, match="read in place"):
        ShardSet.open(toy_root, cache=CacheConfig(str(tmp_path), 1000))


def test_what_belongs_to_one_process_says_what_can_be_sent_instead(toy: ShardSet) -> None:
    with BatchStream(toy, Order(toy.n_items, 1), batch_size=2) as stream:
        for opened in (toy, stream):
            with pytest.raises(ConfigError, match=r"cannot be pickled; open .* where it is to be read, or send a Set"):
                pickle.dumps(opened)


def test_reading_needs_neither_torch_nor_webdataset(toy_root: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import shards\n"
        f"shards.ShardSet.open({str(toy_root)!r}).record(0).array('latent')\n"
        "print(sorted({'torch', 'ray', 'webdataset'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
