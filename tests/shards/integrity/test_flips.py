"""Single bytes of a set changed at random: `verify` finds what a reader could be given otherwise, and the reader gives
the same values or an error of ours. What is harmless is named in docs/format.md, and is checked to be.

    DIFFUSION_PERCEPTION_FUZZ=1   3,000 flips instead of 120
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shards import verify
from shards.errors import ContractError
from shards.reading.reader import ShardSet
from tests.shards.toy_set import edit_manifest, write_toy_set

FLIPS = 3000 if os.environ.get("DIFFUSION_PERCEPTION_FUZZ") else 120
FILES = (  # of a set, and those that only a large one has
    "manifest.json",
    "flips-000000.tar",
    "flips-000001.tar",
    "flips-000000.idx",
    "flips-000001.idx",
    "tables/classes.safetensors",
    "tables/classes.json",
    "README.md",
    "wids.json",
    "rejects.jsonl",
)
LISTS = ("shards/counts.npy", "shards/000000.npy")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A set of two shards, a table and a reject."""
    write_toy_set(tmp_path / "flips", (2, 1))
    return tmp_path / "flips"


@pytest.fixture(params=["listed", "paged"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same as a set is written, and as a large one is."""
    if request.param == "paged":
        request.getfixturevalue("small_is_large")
    write_toy_set(tmp_path / "flips", (2, 1))
    return tmp_path / "flips"


FILES_OF = 7  # place of manifest.files in what follows


def everything(root: Path) -> list[Any]:
    """All that a reader gives of a set, by every way there is."""
    shards = ShardSet.open(root)
    manifest = shards.manifest
    found: list[Any] = [manifest.name, manifest.split, manifest.recipe, manifest.schema, manifest.counts]
    found += [manifest.shards, manifest.tables, manifest.files, shards.shard_items(), shards.shard_items("row")]
    for number in range(shards.n_records):
        record = shards.record(number)
        found += [record.key, record.meta, shards.items_of_record(number)]
        for field in shards.schema.fields:
            found.append(bytes(record.payload(field.name)))
            if field.codec == "npy":
                array = record.array(field.name)
                found.append((array.dtype, array.shape, array.tobytes()))
    found += [shards.item(item) for item in range(shards.n_items)]
    for table in manifest.tables:
        arrays, info = shards.table(table.name)
        found += [{name: (array.dtype, array.tolist()) for name, array in arrays.items()}, info]
    return found


def outcome(root: Path) -> list[Any] | ContractError:
    try:
        return everything(root)
    except ContractError as error:
        return error


def values_of(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def test_no_flipped_byte_is_read_as_something_else_and_verify_finds_it(either: Path) -> None:
    small, rng, before = either, random.Random(13), everything(either)
    assert list(verify.find_faults(small)) == []
    files = FILES + tuple(name for name in LISTS if (small / name).exists())
    stored = {name: (small / name).read_bytes() for name in files}
    missed: Counter[str] = Counter()
    for number in range(FLIPS):
        name = files[number % len(files)]
        payload = bytearray(stored[name])
        place = rng.randrange(len(payload))
        payload[place] ^= rng.randrange(1, 256)
        (small / name).unlink()
        (small / name).write_bytes(payload)
        faults, found = list(verify.find_faults(small)), outcome(small)
        (small / name).write_bytes(stored[name])
        said = f"{name}, byte {place}: {stored[name][place]} -> {payload[place]}"
        assert isinstance(found, ContractError) or found == before, f"read as something else: {said}"
        if not faults:  # only what docs/format.md names: spaces between the values of a manifest
            assert name == "manifest.json", f"not found by verify: {said}"
            assert values_of(bytes(payload)) == values_of(stored[name]), f"not found by verify: {said}"
            missed[name] += 1
    assert missed["manifest.json"] < FLIPS / len(FILES) / 4
    assert list(verify.find_faults(small)) == []


@pytest.mark.parametrize("gap", [b"\n ", b": "])
def test_spaces_between_the_values_of_a_manifest_are_harmless(small: Path, gap: bytes) -> None:
    before, path = everything(small), small / "manifest.json"
    path.write_bytes(path.read_bytes().replace(gap, gap[:-1] + b"\t", 1))
    assert list(verify.find_faults(small)) == []
    assert everything(small) == before


def _change_shape(data: dict[str, Any]) -> None:
    data["schema"]["fields"][0]["shape"][0] = "W"


EDITS = {
    "name": lambda data: data.update(name="other"),
    "split": lambda data: data.update(split="val"),
    "unit": lambda data: data["schema"]["fields"][0].update(unit="another"),
    "letter": _change_shape,
    "rows of a table": lambda data: data["tables"][0].update(rows=4),
    "hash of the card": lambda data: data["files"].update({"README.md": "0" * 64}),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_value_that_nothing_else_repeats_is_held_by_the_manifests_own_hash(small: Path, what: str) -> None:
    data = json.loads((small / "manifest.json").read_bytes())
    EDITS[what](data)
    (small / "manifest.json").write_text(json.dumps(data))
    assert any("manifest.json: sha256 of its values is" in fault for fault in verify.find_faults(small))
    with pytest.raises(ContractError, match="sha256 of its values"):
        ShardSet.open(small)


def test_a_set_written_before_opens_and_verify_says_what_it_could_not_check(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, data = everything(small), json.loads((small / "manifest.json").read_bytes())
    del data["files"], data["sha256"]
    (small / "manifest.json").write_text(json.dumps(data))
    (small / "README.md").write_bytes(b"another")
    before[FILES_OF] = {}
    assert everything(small) == before
    assert verify.main([str(small)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert "name, split, unit, letters of shapes" in notes[0]
    assert "README.md, wids.json and the text of rejects.jsonl" in notes[1]


def test_rows_of_a_table_are_those_of_its_arrays(small: Path) -> None:
    edit_manifest(small, EDITS["rows of a table"])
    assert any("has 3 rows, the manifest says 4" in fault for fault in verify.find_faults(small))


def test_faults_behind_a_wrong_entry_and_a_damaged_header_are_still_named(small: Path) -> None:
    """An entry of wrong types, an npy header that cannot be read, and a flipped byte of the last file."""
    edit_manifest(small, lambda data: data["shards"].insert(0, {"name": 5, "records": "two"}))
    tar = small / "flips-000000.tar"
    payload = tar.read_bytes()
    tar.chmod(0o644)
    tar.write_bytes(payload.replace(b"'descr': '<f2'", b"'descr': '<f(2", 1))
    shutil.copy(small / "flips-000000.idx", small / "flips-000001.idx")
    (small / "wids.json").write_bytes(b"{}")
    faults = "\n".join(verify.find_faults(small))
    for said in ("shard 0: keys that are missing", "the npy header cannot", "flips-000001.idx", "wids.json: sha256"):
        assert said in faults
