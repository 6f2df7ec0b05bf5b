"""Pages made by the compiled library against Python's: the same numbers, and the same words where there are none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from shards.contract.schema import Field, Record, Schema
from shards.contract.shard_pages import page_in, rows_header
from shards.errors import ContractError
from shards.native.library import SWITCH, address_of, library
from shards.reading import reader
from shards.reading.page import Page
from shards.reading.reader import ShardSet
from shards.storage.atomic import sha256_bytes
from shards.writing.writer import seal_set, write_shard
from tests.shards.toy_set import edit_manifest, write_toy_set

pytestmark = pytest.mark.skipif(library() is None, reason="nothing is compiled: `python -m shards.native`")
EDGES = [0, 1, 2, 255, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


def pages_of(root: Path) -> list[Page]:
    shards = ShardSet.open(root)
    return shards.paged.pages(range(len(shards.manifest.shards)))


def said_of(page: Page) -> list[Any]:
    """Everything that a page holds, with the types it is held in."""
    tables = [(part.base, part.step, part.varying, part.table) for part in (page.records, page.items)]
    arrays = [*tables[0], *tables[1], page.hash]
    return [page.keys, *[(array.dtype.name, array.shape, array.tolist()) for array in arrays]]


def outcome(root: Path) -> Any:
    try:
        return [said_of(page) for page in pages_of(root)]
    except ContractError as error:
        return f"{type(error).__name__}: {error}"


def both_ways(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """(with the library, without)."""
    monkeypatch.setenv(SWITCH, "1")
    found = outcome(root)
    monkeypatch.setenv(SWITCH, "0")
    return found, outcome(root)


def rewrite(root: Path, name: str, edit: Callable[[bytes], bytes]) -> None:
    """Change a shard's index and the hash that the manifest has of it."""
    path = root / f"{name}.idx"
    payload = edit(path.read_bytes())
    path.chmod(0o644)
    path.write_bytes(payload)
    places = [shard["name"] for shard in json.loads((root / "manifest.json").read_bytes())["shards"]]
    edit_manifest(root, lambda data: data["shards"][places.index(name)].update(idx_sha256=sha256_bytes(payload)))


def many_records(number: int) -> Record:
    rng = random.Random(number)
    rows = rng.choice([1, 1, 2, 7])
    cuts = sorted({0, rows, rng.randrange(rows + 1)})
    values = {
        "token": np.full((rows, 3), number, np.int32),
        "wide": np.zeros((rng.randrange(3), 5), np.float16),
        "other": np.zeros((rows,), np.uint8),
        "mask": rng.randbytes(rng.randrange(4)),
    }
    meta = {"items": [[start, end - start] for start, end in pairwise(cuts)]}
    return Record("k" * (1 + number % 5) + str(number), {**values, "meta": meta})


SCHEMA = Schema(
    (
        Field("token", "npy", "int32", ("S", 3), "item"),
        Field("wide", "npy", "float16", ("H", 5)),
        Field("other", "npy", "uint8", ("S",), "item"),
        Field("mask", "bin"),
        Field("meta", "json"),
    ),
    "item",
)


@pytest.mark.parametrize("sizes", [(1,), (2, 40, 1)])
def test_a_page_is_the_one_that_python_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    root, start, shards = tmp_path / "many", 0, []
    for number, size in enumerate(sizes):
        records = map(many_records, range(start, start + size))
        shards.append(write_shard(root, f"many-{number:06d}", SCHEMA, records))
        start += size
    seal_set(root, name="many", split="train", recipe={"source": {}}, schema=SCHEMA, shards=shards)
    found, expected = both_ways(root, monkeypatch)
    assert isinstance(found, list)
    assert found == expected
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(reader, "join", None)  # none of them is left to Python
    assert outcome(root) == found


def test_numbers_that_lead_nowhere_are_refused_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, name, rng = tmp_path / "wrong", "wrong-000001", random.Random(4)
    write_toy_set(root, (2, 3))
    right = (root / f"{name}.idx").read_bytes()
    outcomes: dict[str, int] = {}
    for _ in range(160):
        arrays = {key: array.copy() for key, array in safetensors.numpy.load(right).items()}
        array = arrays[rng.choice(sorted(arrays))].reshape(-1)
        if not array.size:
            continue
        place = rng.randrange(array.size)
        near = int(array[place]) + rng.randint(-2, 2)
        array[place] = rng.choice([near, near, *EDGES]) % 256**array.itemsize
        payload = safetensors.numpy.save(arrays)
        rewrite(root, name, lambda _, payload=payload: payload)
        found, expected = both_ways(root, monkeypatch)
        assert found == expected
        kind = found.partition(".idx")[2][:24] if isinstance(found, str) else "read"
        outcomes[kind] = outcomes.get(kind, 0) + 1
    assert len(outcomes) > 5, outcomes
    assert outcomes["read"] > 5, outcomes


def _with_header(edit: Callable[[dict[str, Any]], Any], *, behind: bytes = b"") -> Callable[[bytes], bytes]:
    def edited(payload: bytes) -> bytes:
        n_bytes = int.from_bytes(payload[:8], "little")
        header = json.loads(payload[8 : 8 + n_bytes])
        edit(header)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + payload[8 + n_bytes :] + behind

    return edited


def _swap(header: dict[str, Any]) -> None:
    """Two arrays of one length at each other's place: bytes that nobody reads otherwise than as their names say."""
    one, other = header["gist.offset"], header["gist.length"]
    one["data_offsets"], other["data_offsets"] = other["data_offsets"], one["data_offsets"]


HEADERS = {
    "as it was": _with_header(lambda header: None),
    "more of them": _with_header(
        lambda header: header.update(more={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})
    ),
    "words about it": _with_header(lambda header: header.update(__metadata__={"by": "somebody"})),
    "one missing": _with_header(lambda header: header.pop("items")),
    "another type": _with_header(lambda header: header["gist.rows"].update(dtype="F32")),
    "another shape": _with_header(lambda header: header["gist.rows"].update(shape=[1, 3])),
    "numbers with a point": _with_header(lambda header: header["key_ends"].update(shape=[3.0])),
    "a shape of nothing": _with_header(lambda header: header["keys"].update(shape=[])),
    "two at one place": _with_header(
        lambda header: header["gist.rows"].update(data_offsets=header["mask.rows"]["data_offsets"])
    ),
    "two exchanged": _with_header(_swap),
    "bytes behind": _with_header(lambda header: None, behind=b"12345678"),
    "cut": lambda payload: payload[:-8],
    "no header": lambda payload: b"\xff" * 8 + payload[8:],
    "nothing": lambda payload: b"",
    "a list": lambda payload: (8).to_bytes(8, "little") + b"[]      " + payload[8:],
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_headers_are_read_or_refused_as_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    root = tmp_path / "head"
    write_toy_set(root, (2, 3))
    before = outcome(root)
    rewrite(root, "head-000001", HEADERS[what])
    found, expected = both_ways(root, monkeypatch)
    assert found == expected
    assert (found == before) == (what in {"as it was", "more of them", "words about it"})


def test_an_index_that_contradicts_the_manifest_is_refused_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "counts"
    write_toy_set(root, (2, 3))
    payload = (root / "counts-000000.idx").read_bytes()
    rewrite(root, "counts-000001", lambda _: payload)
    found, expected = both_ways(root, monkeypatch)
    assert found == expected
    assert "holds 2 records and 3 items, the manifest says 3 and" in found


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ([b"a-0", b"a-1", b"b"], None),
        ([b"b", b"a-1", b"a-0"], None),
        ([b"a", b"a"], "names a shard twice"),
        ([b"a", b"", b"c"], "key ''"),
        ([b"a", b"b.c"], "key 'b.c'"),
        ([b"a", b"b/c"], "key 'b/c'"),
        ([b"a\0b", b"c"], "key"),
        ([b"a", b"\xe9"], "key"),
        ([b"__a", b"c"], "key '__a'"),
        ([b"a\nb", b"c"], "key"),
    ],
)
def test_names_of_a_list_are_those_that_python_takes(
    monkeypatch: pytest.MonkeyPatch, names: list[bytes], error: str | None
) -> None:
    rows = np.zeros(len(names), [("name", "S4"), ("tar_sha256", "u1", (32,)), ("idx_sha256", "u1", (32,))])
    rows["name"] = names
    payload = rows_header(rows.dtype, len(rows)) + rows.tobytes()
    native = library()
    assert native is not None
    ascend = names == sorted(set(names)) and error is None
    assert bool(native.are_names(len(rows), address_of(rows), rows.itemsize, 4)) == ascend
    for switch in ("1", "0"):
        monkeypatch.setenv(SWITCH, switch)
        if error is None:
            assert page_in(payload, len(rows), "here")["name"].tolist() == names
        else:
            with pytest.raises(ContractError, match=error):
                page_in(payload, len(rows), "here")
