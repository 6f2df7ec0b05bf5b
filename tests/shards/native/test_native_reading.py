"""The compiled reader against Python's: equal bytes, equal errors, and a file cut under it ends no process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xxhash

from shards.contract.schema import Field, Record, Schema
from shards.errors import ContractError
from shards.native.compiling import compiled
from shards.native.library import SWITCH, library, reading_with
from shards.reading.batch import Sample
from shards.reading.order import Order
from shards.reading.permutation import permute
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import flip_byte

ROOT = Path(__file__).resolve().parents[3]
needs_library = pytest.mark.skipif(library() is None, reason="nothing is compiled: `python -m shards.native`")
FIELDS = ("gist", "tokens")


def drained(root: Path, *, verify: bool = True, with_mask: bool = False, threads: int = 0) -> list[dict[str, bytes]]:
    """What an epoch and a half gives out."""
    shards = ShardSet.open(root, verify=verify)
    order = Order(shards.n_items, 5)

    def labels(sample: Sample) -> dict[str, np.ndarray]:
        mask = np.frombuffer(sample.payload("mask"), np.uint8) if with_mask else np.zeros(1, np.uint8)
        return {"number": np.array(sample.meta["number"]), "mask": np.array(mask.sum())}

    with BatchStream(
        shards, order, batch_size=3, stop=order.n_items * 3 // 2, fields=FIELDS, labels=labels, threads=threads
    ) as stream:
        return [{name: array.tobytes() for name, array in batch.arrays.items()} for batch in stream]


def outcome(root: Path, monkeypatch: pytest.MonkeyPatch, switch: str) -> str:
    """The error of reading a set, as text."""
    monkeypatch.setenv(SWITCH, switch)
    with pytest.raises(ContractError) as caught:
        drained(root, with_mask=True)
    return f"{type(caught.value).__name__}: {caught.value}"


@needs_library
@pytest.mark.parametrize("wide", [0, 1])
def test_the_hash_of_a_copy_is_the_packages(wide: int) -> None:
    native, draw = library(), random.Random(wide)
    assert native is not None
    lengths = [*range(1400), *(draw.randrange(1400, 300_000) for _ in range(300))]
    data = np.frombuffer(draw.randbytes(300_064), np.uint8)
    target = np.empty(300_064, np.uint8)
    for length in lengths:
        start, place = draw.randrange(64), draw.randrange(64)
        target[place + length :][:1] = 7
        found = native.copy_and_hash(target.ctypes.data + place, data.ctypes.data + start, length, wide)
        assert found == xxhash.xxh3_64_intdigest(data[start : start + length].data), length
        assert np.array_equal(target[place : place + length], data[start : start + length])
        assert (target[place + length :][:1] == 7).all(), "nothing is written behind it"
        again = native.copy_and_hash(target.ctypes.data + place, target.ctypes.data + place, length, wide)
        assert again == found


@needs_library
def test_the_bijection_is_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sizes = np.concatenate([rng.integers(1, 40, 400), rng.integers(1, 2**62, 400), 2 ** rng.integers(0, 62, 200)])
    sizes = np.concatenate([sizes, 2**53 + rng.integers(-2, 3, 100), 2**60 - rng.integers(0, 40, 100)])
    index = (rng.random(len(sizes)) * sizes * 0.999).astype(np.int64)
    keys = rng.integers(0, 2**64, len(sizes), np.uint64)
    found = permute(index[::-1], sizes[::-1], keys[::-1])
    every = permute(np.arange(1000), np.full(1000, 1000), keys[:1])
    monkeypatch.setenv(SWITCH, "0")
    assert np.array_equal(found, permute(index[::-1], sizes[::-1], keys[::-1]))
    assert np.array_equal(every, permute(np.arange(1000), np.full(1000, 1000), keys[:1]))
    assert sorted(every) == list(range(1000))
    for switch in ("0", "1"):
        monkeypatch.setenv(SWITCH, switch)
        assert np.array_equal(every, permute(np.arange(1000), np.array([1000]), keys[:1])), "one size is of all"


@needs_library
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(("verify", "with_mask"), [(True, False), (True, True), (False, True)])
def test_both_readers_give_out_the_same(
    toy_root: Path, monkeypatch: pytest.MonkeyPatch, verify: bool, with_mask: bool, threads: int
) -> None:
    options = {"verify": verify, "with_mask": with_mask, "threads": threads}
    found = drained(toy_root, **options)
    monkeypatch.setattr("shards.reading.rows.RowReader._read_in_python", None)
    assert drained(toy_root, **options) == found, "without Python's way"
    monkeypatch.undo()
    monkeypatch.setenv(SWITCH, "0")
    assert drained(toy_root, **options) == found


@pytest.mark.parametrize("n_fields", [60, 70])
def test_many_members_and_empty_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_fields: int) -> None:
    """More of them than the C takes at once, of odd lengths."""
    draw, numbers = random.Random(0), range(n_fields)
    sizes = {f"f{number}": draw.choice([0, 1, 3, 17, 255]) for number in numbers}
    tensors = [name for place, name in enumerate(sizes) if place % 2 == 0]
    schema = Schema(
        (
            Field("token", "npy", "uint8", ("S",), "item"),
            *(
                Field(name, "npy", "uint8", (size,)) if name in tensors else Field(name, "bin")
                for name, size in sizes.items()
            ),
            Field("meta", "json"),
        ),
        "item",
    )
    contents = {name: draw.randbytes(size) for name, size in sizes.items()}
    arrays = {name: np.frombuffer(contents[name], np.uint8) for name in tensors}
    values = {"token": np.zeros(1, np.uint8), **contents, **arrays, "meta": {"items": [[0, 1]]}}
    shard = write_shard(tmp_path / "many", "many-000000", schema, [Record("one", values)])
    seal_set(tmp_path / "many", name="many", split="train", recipe={"source": {}}, schema=schema, shards=[shard])

    def read() -> dict[str, bytes]:
        shards = ShardSet.open(tmp_path / "many")
        others = sorted(sizes.keys() - set(tensors))

        def labels(sample: Sample) -> dict[str, np.ndarray]:
            return {name: np.frombuffer(bytes(sample.payload(name)), np.uint8) for name in others}

        with BatchStream(shards, Order(1, 0), batch_size=2, stop=6, fields=tensors, labels=labels, threads=0) as stream:
            found = [{name: array[0].tobytes() for name, array in batch.arrays.items()} for batch in stream]
        assert found[0] == found[1] == found[2]  # the later ones with their members read ahead
        return found[0]

    assert read() == contents
    monkeypatch.setenv(SWITCH, "0")
    assert read() == contents


@needs_library
@pytest.mark.parametrize("seed", range(12))
def test_both_readers_find_the_same_fault(damaged: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)
    table = ShardSet.open(damaged).index
    record = draw.randrange(len(table.shard))
    field = table.fields[draw.choice(["gist", "tokens", "mask", "meta"])]
    path = sorted(damaged.glob("*.tar"))[table.shard[record]]
    flip_byte(path, int(field.offset[record]) + draw.randrange(int(field.length[record])))
    try:
        found = outcome(damaged, monkeypatch, "1")
    except pytest.fail.Exception:  # a row of a sentence that was not drawn
        monkeypatch.setenv(SWITCH, "0")
        drained(damaged, with_mask=True)
        return
    assert "xxh3 differs" in found
    assert outcome(damaged, monkeypatch, "0") == found


CUT = """
import mmap, os, sys
from pathlib import Path
from shards.errors import ContractError
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream

root, then = Path(sys.argv[1]), sys.argv[2]
shards = ShardSet.open(root)
stream = BatchStream(shards, Order(shards.n_items, 0), batch_size=5, stop=5 * 40, fields=("tokens",), threads=0)
for _ in range(20):  # 100 samples: only the 105th is looked at again
    next(stream)
if then == "read":
    for path in root.glob("*.tar"):
        os.truncate(path, 0)
    try:
        list(stream)
    except ContractError as error:
        print(type(error).__name__, error)
else:
    path = root / "mine"
    path.write_bytes(bytes(9000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        os.truncate(path, 0)
        mapped[5000]
"""


def ran(root: Path, then: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CUT, str(root), then]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)


@needs_library
def test_a_file_cut_while_it_is_mapped_is_an_error(damaged: Path) -> None:
    done = ran(damaged, "read")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CorruptShard")
    assert "was cut" in done.stdout


@needs_library
def test_a_fault_of_somebody_else_ends_the_process_as_before(damaged: Path) -> None:
    assert ran(damaged, "other").returncode == -signal.SIGBUS


@needs_library
def test_what_lies_apart_or_out_of_the_file_is_read_or_refused(tmp_path: Path) -> None:
    """The C function itself: gaps, another order than the file's, and places that do not exist."""
    native = library()
    assert native is not None
    payload = random.Random(0).randbytes(100_000)
    path = tmp_path / "file"
    path.write_bytes(payload)
    with path.open("rb") as file:
        address = native.map_file(file.fileno(), len(payload))
        for mapped in (address, 0):
            files = np.array([[file.fileno(), mapped, len(payload)]] * 2, np.int64)
            for starts, right in (
                ([[10, 20], [500, 40_000]], 2),
                ([[60_000, 99_000], [50, 10]], 2),
                ([[10, 99_901], [200, 500]], 1),
                ([[-1, 10], [200, 500]], 0),
            ):
                at = np.array(starts, np.int64)  # [members, samples]
                lengths = np.array([[100, 100], [300, 0]], np.int64)
                wanted = [
                    [payload[max(0, s) : max(0, s) + n] for s, n in zip(*both, strict=True)]
                    for both in zip(at, lengths, strict=True)
                ]
                hashes = np.array([[xxhash.xxh3_64_intdigest(one) for one in row] for row in wanted], np.uint64)
                targets = [np.zeros(int(row.sum()), np.uint8) for row in lengths]
                table = np.array(
                    [
                        [at[k].ctypes.data, lengths[k].ctypes.data, hashes[k].ctypes.data, targets[k].ctypes.data, 0]
                        for k in range(2)
                    ],
                    np.int64,
                )
                assert native.read_rows(2, 2, table.tobytes(), files.tobytes(), 1) == right
                if right == 2:
                    assert [target.tobytes() for target in targets] == [b"".join(row) for row in wanted]
                    hashes[1, 1] += 1
                    assert native.read_rows(2, 2, table.tobytes(), files.tobytes(), 1) == 1
                    assert native.read_rows(2, 2, table.tobytes(), files.tobytes(), 0) == 2
        native.unmap_file(address, len(payload))
    assert native.map_file(-1, 100) == 0


def test_the_switch_and_a_missing_compiler_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert library() is None
    assert reading_with() == f"Python ({SWITCH}=0)"
    monkeypatch.setenv("CC", "false")
    assert compiled(tmp_path) == (None, "false ended with 1: ")
    monkeypatch.setenv("CC", "no-such-compiler")
    made, why = compiled(tmp_path)
    assert made is None
    assert "no C compiler" in why
    monkeypatch.setenv("CC", '"gcc')
    assert compiled(tmp_path) == (made, why)
    assert list(tmp_path.iterdir()) == []
    (broken := tmp_path / "cc").write_bytes(b"#!/bin/sh\nprintf 'no \\377' >&2\nexit 3\n")  # words of no encoding
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    assert compiled(tmp_path)[1].endswith("ended with 3: no \ufffd")


@needs_library
def test_a_library_of_other_sources_is_not_found(tmp_path: Path) -> None:
    """Its name says which sources it is of; one that cannot be loaded is said."""
    code = (
        "import shards.native.compiling as c, shards.native.library as l, pathlib, sys;"
        "l.FOLDER = pathlib.Path(sys.argv[1]); l.library_name = lambda: 'reading-other.so';"
        "print(l.library(), l.reading_with())"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    assert "None Python (nothing is compiled" in subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
    (tmp_path / "reading-other.so").write_bytes(b"no library")
    assert "cannot be loaded" in subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
