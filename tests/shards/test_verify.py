"""verify and inspect: a sound set passes, every kind of damage is one clear line and a failed exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shards import inspect, verify
from shards.contract.index import build_index
from shards.errors import CorruptShard
from shards.reading.reader import ShardSet
from tests.shards.toy_set import SCHEMA, edit_manifest, flip_byte

Capture = pytest.CaptureFixture[str]


def test_a_sound_set_has_no_faults(toy_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(toy_root)]) == 0
    assert "sound (24 items, 12 records, 1 rejects, 40 sentence, 18 view)" in capsys.readouterr().out


def test_verify_runs_as_a_module_and_sets_the_exit_status(damaged: Path) -> None:
    (damaged / "toy-000000.tar").unlink()
    command = [sys.executable, "-m", "shards.verify", str(damaged)]
    root = Path(verify.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 1
    assert "FAULT toy-000000.tar: named by the manifest but not found" in done.stdout


@pytest.mark.parametrize("field", [field.name for field in SCHEMA.fields])
def test_a_flipped_byte_in_any_member_is_found_and_named(damaged: Path, field: str) -> None:
    table = ShardSet.open(damaged).index.fields[field]
    flip_byte(damaged / "toy-000001.tar", int(table.offset[4] + table.length[4]) - 1)
    faults = list(verify.find_faults(damaged))
    assert any(fault.startswith("toy-000001.tar: sha256 is") for fault in faults)
    if field != "meta":  # a damaged brace of the JSON is found by parsing
        assert any(f"record image0004, field {field}, row" in fault for fault in faults)
    else:
        assert any("image0004.meta.json: is not valid JSON" in fault for fault in faults)


@pytest.mark.parametrize("place", [0, 5, 156, 700, 512 + 70])
def test_a_flipped_byte_in_headers_and_padding_is_found(damaged: Path, place: int) -> None:
    flip_byte(damaged / "toy-000002.tar", place)
    faults = list(verify.find_faults(damaged))
    assert faults
    assert all("toy-000002" in fault or "counts." in fault for fault in faults)


def test_the_index_is_checked_against_the_tar_even_if_its_hash_was_updated(damaged: Path) -> None:
    from shards.storage.atomic import sha256_file

    index = build_index(damaged / "toy-000000.tar", SCHEMA)
    index.fields["gist"].hash[2] ^= 1
    index.save(damaged / "toy-000000.idx")
    new = sha256_file(damaged / "toy-000000.idx")
    edit_manifest(damaged, lambda data: data["shards"][0].update(idx_sha256=new))
    assert list(verify.find_faults(damaged)) == [
        "toy-000000: record image0002, field gist, row 0: bytes differ from their hash"
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "manifest.json").unlink(), "manifest.json not found"),
        (lambda root: (root / "toy-000001.idx").unlink(), "toy-000001.idx: named by the manifest"),
        (lambda root: flip_byte(root / "toy-000001.idx", -1), "toy-000001.idx: sha256 is"),
        (lambda root: flip_byte(root / "tables" / "classes.json", 5), "tables/classes.json: sha256 is"),
        (
            lambda root: (root / "rejects.jsonl").write_text(""),
            "rejects.jsonl: has 0 lines, the manifest counts 1",
        ),
        (
            lambda root: edit_manifest(root, lambda data: data["counts"].update(view=17)),
            "counts.view is 17, the sound tars hold 18",
        ),
    ],
)
def test_other_damage_is_named(damaged: Path, damage, message: str, capsys: Capture) -> None:
    damage(damaged)
    assert verify.main([str(damaged)]) == 1
    assert message in capsys.readouterr().out


def test_a_file_that_nobody_named_is_noted_but_no_fault(damaged: Path, capsys: Capture) -> None:
    (damaged / "toy-000009.tar").touch()
    assert verify.main([str(damaged)]) == 0
    assert "note: toy-000009.tar is not named by the manifest" in capsys.readouterr().out


def test_a_tar_cut_at_a_member_border_is_not_taken_for_a_short_one(damaged: Path) -> None:
    """tarfile and webdataset end quietly there."""
    tar = damaged / "toy-000001.tar"
    cut = int(ShardSet.open(damaged).index.fields["latent"].offset[6]) - 128 - 512
    data = tar.read_bytes()[:cut]
    tar.chmod(0o644)
    tar.write_bytes(data)
    with pytest.raises(CorruptShard, match="no end of archive"):
        build_index(tar, SCHEMA)


def test_inspect_shows_schema_counts_recipe_bytes_and_a_record(
    toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect.main([str(toy_root), "--record", "4"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "| latent.npy | float16 | [V, 4, 2, 2] | view |",
        "40 sentence",
        '"weights": "1234"',
        "tar structure",
        "record 4: image0004",
    ):
        assert text in shown
    assert '"number": 4' in shown


def test_inspect_says_what_is_wrong(tmp_path: Path, toy_root: Path, capsys: Capture) -> None:
    assert inspect.main([str(tmp_path)]) == 1
    assert inspect.main([str(toy_root), "--record", "99"]) == 1
    shown = capsys.readouterr().err
    assert "manifest.json not found" in shown
    assert "record 99 of toy: expected 0 to 11" in shown


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("name", ["README.md", "rejects.jsonl", "wids.json"])
def test_a_file_that_is_missing_is_one_fault(damaged: Path, name: str, hashed: bool) -> None:
    if not hashed:  # as in sets that were written before
        edit_manifest(damaged, lambda data: data.pop("files"))
    (damaged / name).unlink()
    faults = list(verify.find_faults(damaged))
    assert len(faults) == (1 if hashed or name == "rejects.jsonl" else 0)
    assert all(fault.startswith(f"{name}: ") for fault in faults)
