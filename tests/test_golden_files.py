"""The recordings themselves: whole, small, described, cut from the full set, and refused when damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.golden.make_compact import CUTS, PUBLISHED
from tests.golden_files import CHECKPOINTS, COMPACT, FULL, DamagedRecording, GoldenSet, chosen_set, grid

LIMIT_BYTES = 6_000_000


@pytest.fixture
def compact():
    with GoldenSet(COMPACT) as recordings:
        yield recordings


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the compact set to damage."""
    return Path(shutil.copytree(COMPACT, tmp_path / "set", ignore=shutil.ignore_patterns("*.py", "__pycache__")))


def test_the_compact_set_is_whole_small_and_described(compact: GoldenSet) -> None:
    listed = set(json.loads((COMPACT / "MANIFEST.json").read_text()))
    present = {path for path in COMPACT.iterdir() if path.is_file()}
    beside = {".gitattributes", "MANIFEST.json", "README.md", "make_compact.py"}
    assert {path.name for path in present} - listed == beside
    for name in listed:
        compact.read(name)
    assert sum(path.stat().st_size for path in present) <= LIMIT_BYTES
    readme = (COMPACT / "README.md").read_text()
    assert [name for name in {*listed, "MANIFEST.json"} if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", CUTS)
def test_every_recording_is_read(name: str, compact: GoldenSet) -> None:
    recording = compact.recording(name)
    assert set(recording.thinned) <= set(recording.tensors)
    assert all(value.numel() for value in recording.tensors.values())


def test_every_published_checkpoint_is_unpacked_once_and_gone_at_the_end() -> None:
    with GoldenSet(COMPACT) as compact:
        paths = [compact.checkpoint(name) for name in PUBLISHED]
        assert all(path.stat().st_size > 900_000 for path in paths)
        paths[0].write_bytes(b"touched")
        assert compact.checkpoint(PUBLISHED[0]).read_bytes() == b"touched"
    assert not paths[0].parent.exists()


@pytest.mark.parametrize("name", ["ldm.safetensors.xz", "ldm.json"])
@pytest.mark.parametrize("damage", ["one bit", "cut short", "missing", "not listed"])
def test_a_damaged_recording_is_refused_by_name(name: str, damage: str, copied: Path) -> None:
    data, manifest = bytearray((copied / name).read_bytes()), json.loads((copied / "MANIFEST.json").read_text())
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    if damage == "cut short":
        del data[-1]
    if damage == "not listed":
        manifest[name] = {}
    (copied / name).write_bytes(data)
    if damage == "missing":
        (copied / name).unlink()
    (copied / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedRecording, match=rf"{name}: found .* MANIFEST.json says"):
        GoldenSet(copied).recording("ldm")


def test_damaged_checkpoints_are_refused(copied: Path) -> None:
    data = bytearray((copied / CHECKPOINTS).read_bytes())
    data[1000] ^= 1
    (copied / CHECKPOINTS).write_bytes(data)
    with pytest.raises(DamagedRecording, match=CHECKPOINTS):
        GoldenSet(copied).checkpoint(PUBLISHED[0])


def test_what_only_the_full_set_has_skips_and_what_none_has_fails(compact: GoldenSet) -> None:
    wrapper = compact.recording("unet_wrapper")
    with pytest.raises(
        pytest.skip.Exception, match=r"only the full set .* unet_wrapper: tensor 'rawmap\.mid_cross\.0'"
    ):
        wrapper["rawmap.mid_cross.0"]
    with pytest.raises(pytest.skip.Exception, match="unet_wrapper: fact 'errors'"):
        wrapper.facts["errors"]
    with pytest.raises(KeyError):
        wrapper["rawmap.mid_crass.0"]
    with pytest.raises(KeyError, match="no recording 'vpd_reefer'"):
        compact.recording("vpd_reefer")


def test_a_result_is_compared_where_the_recording_holds_it(compact: GoldenSet) -> None:
    refer, whole = compact.recording("vpd_refer"), torch.arange(2.0 * 2 * 256 * 256).view(2, 2, 256, 256)
    assert torch.equal(refer.kept("logits", whole), whole[:, :, 1::4, 2::4])
    assert refer.kept("logits", whole).shape == refer["logits"].shape
    assert refer.kept("latents", whole) is whole


def test_the_setting_names_a_set(tmp_path: Path) -> None:
    assert chosen_set("compact") == COMPACT
    assert chosen_set("") == chosen_set(None) == (FULL if FULL.is_dir() else COMPACT)
    assert chosen_set(str(COMPACT)) == COMPACT
    with pytest.raises(pytest.UsageError, match=r"DIFFUSION_PERCEPTION_GOLDEN=.*no recordings at .*compact, full or"):
        chosen_set(str(tmp_path))


@pytest.fixture
def full(golden: GoldenSet) -> GoldenSet:
    if (golden.folder / "REDUCED.json").exists():
        pytest.skip("only the full set of recordings shows what the compact one was cut from")
    return golden


@pytest.mark.parametrize("name", CUTS)
def test_the_compact_set_holds_the_values_of_the_full_one(name: str, compact: GoldenSet, full: GoldenSet) -> None:
    ours, theirs = compact.recording(name), full.recording(name)
    for key, value in ours.tensors.items():
        assert torch.equal(value, theirs[key][grid(ours.thinned.get(key, ["..."]))]), key
    for key, value in ours.facts.items():
        assert value == theirs.facts[key]


def test_the_compact_set_holds_the_checkpoints_of_the_full_one(compact: GoldenSet, full: GoldenSet) -> None:
    for name in PUBLISHED:
        ours = hashlib.sha256(compact.checkpoint(name).read_bytes()).hexdigest()
        if (full.folder / f"{name}.json").exists():
            theirs = json.loads(full.read(f"{name}.json"))["sha256_raw"]
        else:
            theirs = hashlib.sha256(full.checkpoint(name).read_bytes()).hexdigest()
        assert ours == theirs, name
