"""`set push` and `set pull`: there and back, what is said, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from tests.shards.toy_set import write_toy_set

Ended = Callable[..., int]


def test_there_and_back(
    toy_root: Path, bucket: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended("push", str(toy_root), f"to={bucket}", "threads=2") == 0
    said = capsys.readouterr().out
    assert "[push] toy: of no dataset whose terms are known here" in said
    assert f"[push] toy: 3 shards (102,400 bytes) copied, 0 were there; verified, at {bucket}/toy" in said
    assert ended("pull", bucket, f"to={tmp_path}") == 0
    assert "[pull] toy: 3 shards" in capsys.readouterr().out
    assert ended("verify", str(tmp_path / "toy"), f"{bucket}/toy") == 0
    assert ended("pull", bucket, f"to={tmp_path}") == 0
    assert "0 shards (0 bytes) copied, 3 were there" in capsys.readouterr().out


def test_another_set_is_replaced_by_a_flag(
    toy_root: Path, bucket: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    write_toy_set(tmp_path / "toy", (2, 2))
    assert ended("push", str(tmp_path / "toy"), f"to={bucket}") == 0
    assert ended("push", str(toy_root), f"to={bucket}") == 1
    assert "holds another set:\n  their recipes are equal\n" in capsys.readouterr().err
    assert ended("push", str(toy_root), f"to={bucket}", "--replace") == 0
    names = fsspec.filesystem("memory").ls(f"{bucket}/toy", detail=False)
    assert sum(name.endswith(".tar") for name in names) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("push", "x"), "to: where to? Name a folder or a URL"),
        (("pull", "x", "to=y", "threads=0"), "threads is 0; expected at least 1"),
        (("pull", "/nowhere/x", "to=/tmp/y"), "manifest.json not found in /nowhere/x"),
        (("push", "x", "to=s3://b/x?sig=abcdef"), "is a URL with a password, a token or a query in it"),
    ],
)
def test_what_cannot_be_is_one_message(
    words: tuple[str, ...], said: str, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended(*words) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "abcdef" not in shown
