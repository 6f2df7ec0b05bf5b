"""verify and inspect on a URL: what they say of a folder, and what of a damaged object."""

from __future__ import annotations

import uuid
from pathlib import Path

import fsspec
import pytest

from shards import inspect, verify
from shards.storage import staging, store
from shards.storage.retry import Retry


@pytest.fixture(autouse=True)
def _private_and_quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(2, 0.001, 0.01))
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path / "staging")


@pytest.fixture
def toy_root(either_root: Path) -> Path:
    """Of the toy set in both forms."""
    return either_root


@pytest.fixture
def remote(toy_root: Path) -> str:
    """The toy set in fsspec's in-memory file system."""
    bucket = uuid.uuid4().hex
    fsspec.filesystem("memory").put(str(toy_root), f"/{bucket}/toy", recursive=True)
    return f"memory://{bucket}/toy"


def test_a_sound_set_is_sound_at_a_url(remote: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fsspec.filesystem("memory").pipe_file(f"{remote.removeprefix('memory:/')}/toy-000009.tar", b"x")
    assert verify.main([remote]) == 0
    said = capsys.readouterr().out
    assert f"{remote}: sound (" in said
    assert "note: toy-000009.tar is not named by the manifest" in said
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "offset", "words"),
    [
        ("toy-000001.tar", 700, "FAULT toy-000001.tar: sha256 is"),
        ("toy-000002.idx", 900, "FAULT toy-000002.idx: sha256 is"),
        ("tables/classes.safetensors", -1, "tables/classes.safetensors: sha256 is"),
    ],
)
def test_a_flipped_byte_is_named_at_a_url(
    remote: str, capsys: pytest.CaptureFixture[str], name: str, offset: int, words: str
) -> None:
    memory, path = fsspec.filesystem("memory"), f"{remote.removeprefix('memory:/')}/{name}"
    data = bytearray(memory.cat_file(path))
    data[offset] ^= 0x40
    memory.pipe_file(path, bytes(data))
    assert verify.main([remote]) == 1
    assert words in capsys.readouterr().out


def test_a_missing_shard_or_set_is_named_at_a_url(remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    fsspec.filesystem("memory").rm(f"{remote.removeprefix('memory:/')}/toy-000001.tar")
    assert verify.main([remote]) == 1
    assert "toy-000001.tar: named by the manifest but not found" in capsys.readouterr().out
    assert verify.main([f"{remote}/nothing"]) == 1
    assert "manifest.json not found in memory://" in capsys.readouterr().out
    assert verify.main(["unknown://x/y"]) == 1
    assert "unknown kind of URL" in capsys.readouterr().out


def test_inspect_says_of_a_url_what_it_says_of_the_folder(
    remote: str, toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect.main([remote, "--record", "3"]) == 0
    there = capsys.readouterr().out
    assert inspect.main([str(toy_root), "--record", "3"]) == 0
    assert there == capsys.readouterr().out
