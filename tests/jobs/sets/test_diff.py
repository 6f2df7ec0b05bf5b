"""`set diff`: words, JSON, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shards.toy_set import write_toy_set

Ended = Callable[..., int]


def test_words_and_json(
    toy_root: Path, remote: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended("diff", str(toy_root), remote) == 0
    assert capsys.readouterr().out == f"here: {toy_root}\nthere: {remote}\na reader is given the same\n"
    write_toy_set(tmp_path / "toy", (4, 3))
    assert ended("diff", remote, str(tmp_path / "toy")) == 0
    assert "5 records that are only here: image0007, image0008" in capsys.readouterr().out
    assert ended("diff", remote, str(tmp_path / "toy"), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["equal"], len(said["only_here"]), said["counts"]["records"]) == (False, 5, [12, 7])


def test_two_sets_are_needed(toy_root: Path, ended: Ended, capsys: pytest.CaptureFixture) -> None:
    assert ended("diff", str(toy_root)) == 1
    assert "diff: name two sets; found 1." in capsys.readouterr().err
