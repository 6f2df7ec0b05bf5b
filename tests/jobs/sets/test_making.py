"""`set merge` and `set split`: there and back, parts by share, number, file and rest, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shards.contract.manifest import Manifest

Ended = Callable[..., int]


def test_split_and_merge(
    toy_root: Path, remote: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    parts = "parts={train: 0.75, val: 0.25}"
    assert ended("split", remote, f"to={tmp_path}", parts, "seed=3", "records_per_shard=2") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("train: 5 shards (9 records, ")
    assert said[1].startswith("val: 2 shards (3 records, ")
    assert ended("merge", str(tmp_path / "train"), str(tmp_path / "val"), f"to={tmp_path / 'all'}") == 0
    assert f"{tmp_path / 'all'}: 7 shards (12 records, 24 items" in capsys.readouterr().out
    assert ended("verify", *(str(tmp_path / name) for name in ("train", "val", "all"))) == 0


def test_a_file_of_keys_a_number_and_the_rest(toy_root: Path, tmp_path: Path, ended: Ended) -> None:
    (tmp_path / "keys.txt").write_text("image0003\n\nimage0001\n")
    parts = f"parts={{named: {tmp_path}/keys.txt, two: 2, others: rest}}"
    assert ended("split", str(toy_root), f"to={tmp_path}", parts) == 0
    records = [Manifest.load(tmp_path / name).counts["records"] for name in ("named", "two", "others")]
    assert records == [2, 2, 8]


def test_convert(toy_root: Path, remote: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture) -> None:
    assert ended("convert", remote, f"to={tmp_path / 'cut'}", "records_per_shard=5") == 0
    assert f"{tmp_path / 'cut'}: 3 shards, 0.1 MB (12 records, " in capsys.readouterr().out
    assert ended("verify", str(tmp_path / "cut")) == 0
    assert ended("convert", str(toy_root), f"to={tmp_path / 'quick'}", "labels=quick") == 1  # its masks are no pictures
    assert "a label of image0000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("convert", "x"), "to: where to?"),
        (("convert", "x", "z", "to=y"), "convert: name one set; found 2"),
        (("split", "x"), "split: say where to, and which parts"),
        (("split", "x", "to=y"), "split: say where to, and which parts"),
        (("split", "x", "z", "to=y", "parts={a: 1}"), "split: name one set; found 2"),
        (("split", "x", "to=y", "parts={a: /nowhere.txt}"), "parts.a is '/nowhere.txt': no file of keys"),
        (("split", "x", "to=y", "parts={a: 1}", "records_per_shard=-1"), "records_per_shard is -1"),
        (("merge", "x", "y"), "to: where to?"),
        (("merge", "x", "to=y"), "merge: name at least two sets; found 1"),
    ],
)
def test_wrong_words_are_one_message(
    words: tuple[str, ...], said: str, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended(*words) == 1
    assert said in capsys.readouterr().err
