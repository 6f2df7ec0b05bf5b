"""Checkpoints damaged at random, and made wrong with hashes that fit: what was written, or errors of ours."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import ContractError
from tests.fuzz import cases, damaged, outcome
from vpd.training.checkpoints import marker
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.checkpoints.marker import FileRecord

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", marker.NAME)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint, of step 3."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}
    tensors = {"model": weights, "optimizer": {"a.exp_avg": torch.zeros(2, 3)}}
    CheckpointStore(str(folder)).save(
        3, tensors, {"step": 3, "position": 48, "nested": [[1, {"x": None}]]}, {"iou": 0.5}
    )
    return folder


def everything(folder: Path) -> list[Any]:
    store = CheckpointStore(str(folder))
    found: list[Any] = []
    for checkpoint in store.complete():
        tensors = store.load_all(checkpoint)
        found += [{stem: {name: value.tolist() for name, value in part.items()} for stem, part in tensors.items()}]
        found += [store.load_state(checkpoint), checkpoint.metrics, store.shapes(checkpoint, "model")]
    return found


@cases(300)
@given(data=st.data(), name=st.sampled_from(FILES))
def test_fuzz_damage_is_never_read_as_something_else(
    saved: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder, right = tmp_path / "run", everything(saved)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    path = folder / "step-000000003" / name
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    found = outcome(lambda: everything(folder), folder)
    assert isinstance(found, ContractError) or found in ([], right)
    if found == []:
        assert outcome(lambda: CheckpointStore(str(folder)).damaged(), folder)


@cases(300)
@given(data=st.data(), name=st.sampled_from(FILES[:3]))
def test_fuzz_files_whose_hashes_fit(saved: Path, tmp_path: Path, data: st.DataObject, name: str) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    path = folder / "step-000000003" / name
    payload = data.draw(damaged(path.read_bytes()))
    path.write_bytes(payload)
    step, files, metrics = marker.opened((path.parent / marker.NAME).read_bytes())
    files[name] = sealed_anew(files[name], payload, data.draw(st.sampled_from([0, 1, 8, 10**6])))
    (path.parent / marker.NAME).write_bytes(marker.sealed(step, files, metrics))
    outcome(lambda: everything(folder), folder)


def sealed_anew(record: FileRecord, payload: bytes, more: int) -> FileRecord:
    """The record of other bytes; the head of a file of tensors may be said to be longer than it is."""
    record = replace(record, n_bytes=len(payload), xxh128=xxhash.xxh3_128_hexdigest(payload))
    if not record.head_bytes:
        return record
    head = record.head_bytes + more
    return replace(record, head_bytes=head, head_xxh128=xxhash.xxh3_128_hexdigest(payload[:head]))
