"""`set repair`: from a copy, and what is said where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shards.toy_set import flip_byte

Ended = Callable[..., int]


@pytest.fixture
def damaged(toy_root: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(toy_root, tmp_path / "toy")
    flip_byte(folder / "toy-000001.tar", 700)
    return folder


def test_from_a_copy(damaged: Path, remote: str, ended: Ended, capsys: pytest.CaptureFixture) -> None:
    assert ended("repair", str(damaged), "--from", remote) == 0
    assert capsys.readouterr().out == f"mended toy-000001.tar\n{damaged}: sound, 1 files mended\n"
    assert ended("verify", str(damaged)) == 0
    assert ended("repair", str(damaged)) == 0
    assert f"{damaged}: sound\n" in capsys.readouterr().out


def test_without_one_the_records_and_the_command_are_named(
    damaged: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended("repair", str(damaged)) == 1
    said = capsys.readouterr()
    assert "DAMAGED toy-000001.tar: sha256 is" in said.out
    assert "to be built again: the 3 records of toy-000001: image0004, image0005, image0006" in said.out
    assert f"build --config CONFIGURATION 'splits=[train]' out={damaged.parent}" in said.out
    assert "1 files are damaged still" in said.err
    assert (damaged / "toy-000001.tar").exists()
    assert ended("repair", str(damaged), "--discard") == 1
    assert "removed toy-000001.tar" in capsys.readouterr().out
    assert not (damaged / "toy-000001.tar").exists()


def test_one_set_at_a_time(damaged: Path, remote: str, ended: Ended, capsys: pytest.CaptureFixture) -> None:
    assert ended("repair", str(damaged), remote) == 1
    assert "repair: name one set; found 2." in capsys.readouterr().err
