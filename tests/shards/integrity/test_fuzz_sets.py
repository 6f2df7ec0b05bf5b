"""Sets made wrong by anybody, with hashes that fit: the reader and `verify` end in errors of ours, or give values."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from shards import verify
from shards.contract.tables import load_table
from shards.errors import ContractError
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.storage.atomic import sha256_bytes
from tests.fuzz import cases, damaged, outcome
from tests.shards.toy_set import edit_manifest, write_toy_set

SHARD = "fuzz-000001"
EDGES = [0, 1, 2, 255, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
Edit = Callable[[dict[str, Any]], Any]
Check = Callable[..., Any]
KEYS = st.sampled_from(["name", "x", "..", "/etc/passwd", "records", "shards", "version", "é"])
ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.sampled_from(EDGES), st.integers(-5, 5), st.floats(-1e9, 1e9),
        st.text(max_size=8), st.sampled_from(["../../etc/passwd", "/etc/passwd", "0" * 64, "i4,i4", "object", "\0"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "fuzz"
    write_toy_set(folder, (2, 1))
    for path in folder.rglob("*"):
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def check(root: Path) -> Check:
    """Puts files into the set, edits its manifest, reads all of it every way there is, and puts the right ones back."""
    right = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def run(edit: Edit = lambda data: None, files: Mapping[str, bytes] | None = None) -> Any:
        try:
            edit_manifest(root, edit)
            for name, payload in (files or {}).items():
                (root / name).write_bytes(payload)
            found = outcome(lambda: everything(root), root)
            outcome(lambda: list(verify.find_faults(root)), root)
            return found
        finally:
            for path, payload in right.items():
                path.write_bytes(payload)

    return run


def everything(root: Path) -> int:
    shards, n_bytes = ShardSet.open(root), 0
    for number in range(shards.n_records):
        for field in shards.schema.fields:
            try:
                n_bytes += len(shards.record(number).payload(field.name)) + len(shards.record(number).meta)
                if field.codec == "npy":
                    n_bytes += shards.record(number).array(field.name).nbytes
            except ContractError:
                continue  # one member is wrong, the others are read
    for table in shards.manifest.tables:
        shards.table(table.name)
    order = Order(shards.n_items, 0)
    with BatchStream(shards, order, batch_size=2, stop=shards.n_items, fields=("gist",), threads=0) as stream:
        return n_bytes + sum(len(batch) for batch in stream)


def test_what_is_right_is_read(root: Path, check: Check) -> None:
    assert check() > 1000


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, below in inner for found in paths_of(below, (*path, key)))]


@cases(600)
@given(data=st.data())
def test_fuzz_values_of_a_manifest(root: Path, check: Check, data: st.DataObject) -> None:
    places = [
        path for path in paths_of(json.loads((root / "manifest.json").read_bytes())) if path and path[0] != "sha256"
    ]
    steps = data.draw(st.lists(st.tuples(st.sampled_from(places), ANYTHING), min_size=1, max_size=2))

    def edit(values: dict[str, Any]) -> None:
        for path, value in steps:
            try:
                at: Any = values
                for part in path[:-1]:
                    at = at[part]
                at[path[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue  # the first step took away what the second is about

    check(edit=edit)


@cases(400)
@given(data=st.data())
def test_fuzz_bytes_of_a_manifest(root: Path, check: Check, data: st.DataObject) -> None:
    check(files={"manifest.json": data.draw(damaged((root / "manifest.json").read_bytes()))})


def named(payload: bytes, key: str) -> Callable[[dict[str, Any]], Any]:
    """The edit that makes the second shard's hash of a file fit."""
    return lambda data: data["shards"][1].update({key: sha256_bytes(payload)})


@cases(400)
@given(data=st.data())
def test_fuzz_bytes_of_an_index(root: Path, check: Check, data: st.DataObject) -> None:
    payload = data.draw(damaged((root / f"{SHARD}.idx").read_bytes()))
    check(named(payload, "idx_sha256"), {f"{SHARD}.idx": payload})


@cases(600)
@given(data=st.data())
def test_fuzz_numbers_of_an_index(root: Path, check: Check, data: st.DataObject) -> None:
    stored = safetensors.numpy.load((root / f"{SHARD}.idx").read_bytes())
    arrays = {name: array.copy() for name, array in stored.items()}
    for name in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=3)):
        array = arrays[name].reshape(-1)
        if array.size and data.draw(st.booleans()):
            place = data.draw(st.integers(0, array.size - 1))
            near = int(array[place]) + data.draw(st.integers(-2, 2))
            array[place] = data.draw(st.sampled_from([near, *EDGES])) % 256**array.itemsize
        else:
            shape = data.draw(st.sampled_from([(0,), (1,), (2, 3), ()]))
            arrays[name] = np.zeros(shape, data.draw(st.sampled_from([np.uint8, np.uint32, np.uint64, np.float16])))
    payload = safetensors.numpy.save(arrays)
    check(named(payload, "idx_sha256"), {f"{SHARD}.idx": payload})


@cases(600)
@given(data=st.data())
def test_fuzz_headers_of_a_tar(root: Path, check: Check, data: st.DataObject) -> None:
    tar = bytearray((root / f"{SHARD}.tar").read_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        block = 512 * data.draw(st.integers(0, len(tar) // 512 - 1))
        at, size = data.draw(st.sampled_from([(0, 100), (124, 12), (156, 1), (157, 8)]))  # name, size, type, link
        value = data.draw(
            st.one_of(
                st.binary(min_size=size, max_size=size),
                st.sampled_from(
                    [b"0", b"7777777777", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"L", b"x", b"S", b"1", b"5"]
                ),
            )
        )
        tar[block + at : block + at + size] = (value + b"\0" * size)[:size]
        chksum = 256 + sum(tar[block : block + 148]) + sum(tar[block + 156 : block + 512])
        tar[block + 148 : block + 156] = b"%06o\0 " % (chksum % 8**6)
    check(named(bytes(tar), "tar_sha256"), {f"{SHARD}.tar": bytes(tar)})


@cases(200)
@given(data=st.data())
def test_fuzz_bytes_of_a_tar(root: Path, check: Check, data: st.DataObject) -> None:
    payload = data.draw(damaged((root / f"{SHARD}.tar").read_bytes()))
    fits = {"tar_sha256": sha256_bytes(payload), "tar_bytes": len(payload)}
    check(lambda values: values["shards"][1].update(fits), {f"{SHARD}.tar": payload})


@cases(300)
@given(data=st.data(), name=st.sampled_from(["safetensors", "json"]))
def test_fuzz_tables(root: Path, check: Check, data: st.DataObject, name: str) -> None:
    file = f"tables/classes.{name}"
    payload = data.draw(damaged((root / file).read_bytes()))
    key = "sha256" if name == "safetensors" else "info_sha256"
    check(lambda values: values["tables"][0].update({key: sha256_bytes(payload)}), {file: payload})


@cases(200)
@given(data=st.data(), name=st.sampled_from(["safetensors", "json"]))
def test_fuzz_tables_outside_a_set(root: Path, tmp_path: Path, data: st.DataObject, name: str) -> None:
    for suffix in ("safetensors", "json"):
        (tmp_path / f"classes.{suffix}").write_bytes((root / f"tables/classes.{suffix}").read_bytes())
    payload = (tmp_path / f"classes.{name}").read_bytes()
    (tmp_path / f"classes.{name}").write_bytes(data.draw(damaged(payload)))
    outcome(lambda: load_table(tmp_path / "classes"), tmp_path)


def test_a_sparse_member_that_claims_a_terabyte_is_refused(root: Path, check: Check, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.latent.npy")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    copy = tmp_path / "fuzz"
    shutil.copytree(root, copy)
    (copy / f"{SHARD}.tar").write_bytes(bytes(header) + bytes(2048))
    faults = outcome(lambda: list(verify.find_faults(copy)), copy)
    assert isinstance(faults, list)
    assert any("is no plain file (type b'S'" in fault for fault in faults)
