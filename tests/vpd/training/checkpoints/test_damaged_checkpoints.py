"""Damaged checkpoints: every flipped bit is found, a run goes on from the older one, and says so once."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shards.contract.manifest import Manifest
from shards.errors import ContractError, CorruptCheckpoint
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.training.checkpoints import marker, split
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.resume import restore_run, resumable
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import build_optimizer, named_groups

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", marker.NAME)
ROUNDS = 250
Change = Callable[[bytes, random.Random], bytes | None]  # None: the file is gone


def flip(data: bytes, moments: random.Random) -> bytes:
    changed = bytearray(data)
    changed[moments.randrange(len(data))] ^= 1 << moments.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, moments: random.Random) -> bytes:
    begin = moments.randrange(len(data))
    return data[:begin] + moments.randbytes(min(64, len(data) - begin)) + data[begin + 64 :]


CHANGES: dict[str, Change] = {
    "flip": flip,
    "overwrite": overwrite,
    "cut": lambda data, moments: data[: moments.randrange(len(data))],
    "longer": lambda data, moments: data + moments.randbytes(1 + moments.randrange(64)),
    "zeros": lambda data, moments: bytes(len(data)),
    "garbage": lambda data, moments: moments.randbytes(len(data)),
    "nested": lambda data, moments: b"[" * 100_000,
    "gone": lambda data, moments: None,
}


@pytest.fixture(scope="module")
def run(depth_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints of steps 3, 6 and 9."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    toy_train(folder, toy_config(depth_set, keep_last=9))
    return folder


class Restored:
    """What a start of the run finds."""

    def __init__(self, folder: Path, depth_set: Path) -> None:
        self.network, settings, self.said = ToyNetwork(), OptimConfig(), list[str]()
        optimizer = build_optimizer(named_groups(self.network, settings), settings)
        manifest, store = Manifest.load(str(depth_set)), CheckpointStore(str(folder))
        resumable(store, manifest, 2)
        self.step = restore_run(store, self.network, optimizer, manifest, 2, say=self.said.append)


def test_a_damaged_checkpoint_gives_way_to_the_older_one(run: Path, depth_set: Path, tmp_path: Path) -> None:
    moments, folder = random.Random(0), tmp_path / "run"
    shutil.copytree(run, folder)
    newest, older = folder / "step-000000009", CheckpointStore(str(run))
    (known,) = (older.load(one, "model") for one in older.complete() if one.step == 6)
    for number in range(ROUNDS):
        name, kind = moments.choice(FILES), moments.choice(list(CHANGES))
        data = (newest / name).read_bytes()
        changed = CHANGES[kind](data, moments)
        if changed == data:
            continue
        (newest / name).unlink()
        if changed is not None:
            (newest / name).write_bytes(changed)
        elif number % 2:
            (newest / name).mkdir()
        what = f"{kind} of {name}, round {number}"

        found = Restored(folder, depth_set)
        assert found.step == 6, what
        assert all(torch.equal(value, known[key]) for key, value in found.network.state_dict().items()), what
        unfinished = changed is None and name == marker.NAME and not number % 2
        assert len(found.said) == 1, what
        assert ("step 9 is damaged" in found.said[0] and name in found.said[0]) != unfinished, what

        if (newest / name).is_dir():
            (newest / name).rmdir()
        (newest / name).write_bytes(data)
    assert Restored(folder, depth_set).step == 9


def test_every_bit_of_a_marker_counts(run: Path) -> None:
    raw = (run / "step-000000009" / marker.NAME).read_bytes()
    marker.opened(raw)
    for place in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError, match="its own hash"):
                marker.opened(bytes(changed))


def without_hashes(run: Path, to: Path, *steps: int) -> Path:
    """A copy of the run, some of whose checkpoints have markers to the letter of version 0.1."""
    shutil.copytree(run, to)
    for folder in (to / f"step-{step:09d}" for step in steps):
        step, files, metrics = marker.opened((folder / marker.NAME).read_bytes())
        known = {"step": step, "files": {name: file.n_bytes for name, file in files.items()}, "metrics": metrics}
        (folder / marker.NAME).write_text(json.dumps(known, sort_keys=True))
    return to


def test_a_run_of_version_0_1_goes_on_and_is_told_that_nobody_compared_its_bytes(
    run: Path, depth_set: Path, tmp_path: Path
) -> None:
    whole = toy_train(tmp_path / "whole", toy_config(depth_set, steps=12))
    toy_train(tmp_path / "begun", toy_config(depth_set, steps=12, stop_after_steps=9))
    folder = without_hashes(tmp_path / "begun", tmp_path / "old", 6, 9)
    found = Restored(folder, depth_set)
    assert found.step == 9
    assert "without hashes: its sizes alone were compared" in found.said[0]
    assert "without hashes" not in Restored(run, depth_set).said[0]
    assert toy_train(folder, toy_config(depth_set, steps=12)) == whole
    assert [one.hashed for one in CheckpointStore(str(folder)).complete()] == [False, True]


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize("kind", ["cut", "longer", "zeros", "garbage", "gone"])
def test_what_cannot_be_understood_of_version_0_1_is_damaged(
    name: str, kind: str, run: Path, depth_set: Path, tmp_path: Path
) -> None:
    folder = without_hashes(run, tmp_path / "old", 9)
    file = folder / "step-000000009" / name
    changed = CHANGES[kind](file.read_bytes(), random.Random(4))
    file.unlink()
    if changed is not None:
        file.write_bytes(changed)
    found = Restored(folder, depth_set)
    assert found.step == 6
    assert "step 9 is damaged" in found.said[0]
    assert name in found.said[0]


def test_a_marker_whose_hashes_are_gone_is_not_taken_for_one_of_version_0_1(run: Path) -> None:
    raw = (run / "step-000000009" / marker.NAME).read_bytes()
    known = json.loads(raw)
    del known["xxh128"]
    unsealed = dict(known)
    known["files"] = {name: {"n_bytes": file["n_bytes"]} for name, file in known["files"].items()}
    partly = dict(known, files={name: file["n_bytes"] for name, file in known["files"].items()}, xxh128="0" * 32)
    for words in (unsealed, known, partly):
        with pytest.raises(ValueError, match="its own hash"):
            marker.opened(json.dumps(words, sort_keys=True).encode())


def test_metrics_of_version_0_1_are_read_whatever_their_names_and_values() -> None:
    metrics = {'IoU of "a [b] {c}"': 0.5, "nan": float("nan"), "tiny": 1e-9, "down": -1.5}
    old = {"files": {"model.safetensors": 12}, "metrics": metrics | {"over nothing": None}, "step": 9}
    step, files, found = marker.opened(json.dumps(old, sort_keys=True).encode())
    assert (step, files["model.safetensors"].n_bytes) == (9, 12)
    assert {name: found[name] for name in ("tiny", "down")} == {"tiny": 1e-9, "down": -1.5}
    assert all(found[name] != found[name] for name in ("nan", "over nothing"))


def test_the_run_trains_on_from_the_older_one_and_writes_over_the_damage(
    run: Path, depth_set: Path, tmp_path: Path
) -> None:
    whole = toy_train(tmp_path / "whole", toy_config(depth_set, steps=12))
    folder = tmp_path / "run"
    config = toy_config(depth_set, steps=12, keep_last=9)
    toy_train(folder, toy_config(depth_set, steps=12, keep_last=9, stop_after_steps=9))
    weights = folder / "step-000000009" / "model.safetensors"
    weights.write_bytes(flip(weights.read_bytes(), random.Random(1)))
    assert toy_train(folder, config) == whole
    store = CheckpointStore(str(folder))
    assert [one.step for one in store.complete()] == [3, 6, 9, 12]
    assert len(store.load_all(store.complete()[2])) == 2  # of sound files


def test_where_all_are_damaged_nothing_is_begun_anew(run: Path, depth_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for number, name in zip((3, 6, 9), FILES, strict=False):
        (folder / f"step-{number:09d}" / name).write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match=r"no finished checkpoint can be read: step 9 .*step 6 .*step 3 .*anew"):
        Restored(folder, depth_set)


def test_a_damaged_one_is_not_evaluated_for_another(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    store = CheckpointStore(str(folder))
    (folder / "step-000000009" / marker.NAME).write_bytes(b"{}")
    for which in ("last", "best", "9"):
        with pytest.raises(CorruptCheckpoint, match=r"may be step 9, which is damaged.*steps \[3, 6\]"):
            store.named(which, "rmse")
    assert store.named("6", "rmse").step == 6
    with pytest.raises(ContractError, match=r"no finished checkpoint '4'"):
        store.named("4", "rmse")
    with pytest.raises(ContractError, match=r"no finished checkpoint there, and no model\..*hf://owner/name"):
        CheckpointStore(str(tmp_path / "owner/name")).named("last", "rmse")
    data = (folder / "step-000000006" / "model.safetensors").read_bytes()
    (folder / "step-000000006" / "model.safetensors").write_bytes(flip(data, random.Random(2)))
    with pytest.raises(CorruptCheckpoint, match=r"model\.safetensors"):
        store.load(store.named("6", "rmse"), "model")


def test_what_killed_writers_left_is_swept_at_the_next_start(depth_set: Path, tmp_path: Path) -> None:
    config = toy_config(depth_set, keep_last=9)
    toy_train(tmp_path, toy_config(depth_set, keep_last=9, stop_after_steps=6))
    half = tmp_path / "step-000000005"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half of it")
    (half / f"{marker.NAME}.partial").write_bytes(b"{")
    (tmp_path / "step-by-step").mkdir()  # somebody else's
    toy_train(tmp_path, config)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        "step-000000003",
        "step-000000006",
        "step-000000009",
        "step-by-step",
    ]


def test_what_is_in_many_files_is_read_as_one_and_each_of_them_is_checked(
    depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "PART_BYTES", 600)
    whole = toy_train(tmp_path / "whole", toy_config(depth_set))
    run = tmp_path / "run"
    toy_train(run, toy_config(depth_set, keep_last=9, stop_after_steps=6))
    parts = sorted(path.name for path in (run / "step-000000006").glob("*.safetensors"))
    assert len(parts) > 4
    store = CheckpointStore(str(run))
    newest = store.complete()[-1]
    assert set(store.shapes(newest, "model")) == set(store.load(newest, "model")) == set(ToyNetwork().state_dict())
    for name in parts:
        data = (run / "step-000000006" / name).read_bytes()
        (run / "step-000000006" / name).write_bytes(flip(data, random.Random(3)))
        assert Restored(run, depth_set).step == 3
        (run / "step-000000006" / name).write_bytes(data)
    assert toy_train(run, toy_config(depth_set)) == whole


def test_damaged_ones_are_deleted_once_a_newer_one_is_sound(depth_set: Path, tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path))
    for step in (1, 2, 3):
        store.save(step, {"model": {"w": torch.zeros(1)}}, {})
    (tmp_path / "step-000000002" / marker.NAME).write_bytes(b"{}")
    store.prune(9, "rmse")
    assert [one.step for one in store.complete()] == [1, 3]
    assert store.damaged() == []
    assert not (tmp_path / "step-000000002").exists()


def test_files_and_folders_are_on_the_disk_before_there_is_a_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which a disk is asked, a marker is the last."""
    seen: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(descriptor: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(
        "shutil.move", lambda source, target, **known: (seen.append("renamed"), real_rename(source, target))
    )
    tensors = {"w": torch.zeros(1), "v": torch.zeros(1)}
    monkeypatch.setattr(split, "PART_BYTES", 4)
    CheckpointStore(str(tmp_path / "run")).save(1, {"model": tensors}, {})
    assert set(seen[:2]) == {"model.safetensors", "model-00001.safetensors"}  # side by side
    files, marked = ["state.json", "checkpoint.json.partial"], "step-000000001"
    assert seen[2:] == [*files, marked, "run", "renamed", marked]
