"""`set verify` and `set inspect`: folders and URLs, exit statuses, settings that are not theirs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shards import inspect
from shards.contract.manifest import Manifest
from tests.shards.toy_set import flip_byte

ROOT = Path(__file__).resolve().parents[3]


Ended = Callable[..., int]


def test_sound_sets_end_with_0_and_one_faulty_with_1(
    toy_root: Path, remote: str, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended("verify", str(toy_root), remote) == 0
    assert capsys.readouterr().out.count("sound (24 items, 12 records") == 2
    damaged = shutil.copytree(toy_root, tmp_path / "toy")
    flip_byte(damaged / "toy-000001.tar", 700)
    assert ended("verify", str(damaged), remote) == 1
    said = capsys.readouterr()
    assert "FAULT toy-000001.tar: sha256 is" in said.out
    assert f"{remote}: sound (" in said.out  # the next one is looked at all the same
    assert f"CorruptShard: faults in {damaged}: named above" in said.err


def test_what_a_set_of_before_has_no_hash_of_is_said(
    toy_root: Path, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended("verify", str(toy_root)) == 0
    assert "no hash of" not in capsys.readouterr().out
    older = shutil.copytree(toy_root, tmp_path / "toy")
    replace(Manifest.load(older), files={}).write(older)
    assert ended("verify", str(older)) == 0
    assert "note: the manifest has no hash of README.md" in capsys.readouterr().out


def test_quick_reads_no_tar(toy_root: Path, tmp_path: Path, ended: Ended, capsys: pytest.CaptureFixture) -> None:
    damaged = shutil.copytree(toy_root, tmp_path / "toy")
    flip_byte(damaged / "toy-000001.tar", 700)
    assert ended("verify", str(damaged), "--quick") == 0
    assert "as large as recorded (24 items" in capsys.readouterr().out
    flip_byte(damaged / "toy-000002.idx", -1)
    (damaged / "toy-000000.tar").unlink()
    assert ended("verify", str(damaged), "--quick") == 1
    said = capsys.readouterr().out
    assert "FAULT toy-000000.tar: named by the manifest but not found" in said
    assert "FAULT toy-000002.idx: sha256 is" in said
    (damaged / "manifest.json").unlink()
    assert ended("verify", str(damaged), "--quick") == 1
    assert "FAULT manifest.json not found" in capsys.readouterr().out


def test_inspect_says_what_the_old_entry_point_says(
    toy_root: Path, remote: str, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert inspect.main([str(toy_root), "--record", "4"]) == 0
    before = capsys.readouterr().out
    for place in (str(toy_root), remote):
        assert ended("inspect", place, "record=4") == 0
        assert capsys.readouterr().out == before
    assert ended("inspect", str(toy_root), "record=12") == 1
    assert "record is 12; toy has 0 to 11" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "set: say which tool. Tools: verify, inspect"),
        (("verfy", "x"), "set: no tool 'verfy'. Did you mean 'verify'?"),
        (("verify",), "which sets?"),
        (("verify", "x", "recrod=3"), "unknown setting 'recrod'"),
        (("verify", "x", "--quik"), "'--quik' needs a value, as in --quik VALUE. Did you mean 'quick'?"),
        (("verify", "x", "storage={secret_access_key: abcdef}"), "holds 'secret_access_key'"),
        (("verify", "https://me:word@x/y"), "is a URL with a password, a token or a query in it: https://***@x/y"),
    ],
)
def test_wrong_words_are_one_message(
    words: tuple[str, ...], said: str, ended: Ended, capsys: pytest.CaptureFixture
) -> None:
    assert ended(*words) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "abcdef" not in shown


def test_help_lists_the_tools_and_what_each_takes(ended: Ended, capsys: pytest.CaptureFixture) -> None:
    assert ended("--help") == 0
    assert "  verify   Is every byte" in capsys.readouterr().out
    assert ended("inspect", "--help") == 0
    assert "  record: int = 0" in capsys.readouterr().out


def test_a_path_with_an_equals_sign_is_a_place(toy_root: Path, tmp_path: Path, ended: Ended) -> None:
    place = shutil.copytree(toy_root, tmp_path / "date=2020" / "toy")
    assert ended("verify", str(place)) == 0


def test_nothing_heavy_is_loaded(toy_root: Path) -> None:
    code = (
        "import sys\nfrom jobs import program\n"
        f"assert program.status('jobs.set', ['verify', '{toy_root}']) == 0\n"
        "print([m for m in ('torch', 'ray', 'diffusers', 'transformers') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
