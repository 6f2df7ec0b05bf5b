"""`data status`: statuses, datasets and forms, nothing heavy loaded, and a description for every shipped build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import program
from pipeline.datasets.nyuv2 import MAT_BYTES
from pipeline.stocktaking import names

ROOT = Path(__file__).resolve().parents[2]


def ended(*words: str) -> int:
    return program.status("jobs.data", ["status", *words])


def test_a_whole_dataset_ends_with_0_and_one_that_is_not_with_1(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = f"root={tmp_path}"
    assert ended("nyuv2", "form=mat", root) == 1
    printed = capsys.readouterr()
    assert f"looked in {tmp_path} for form=mat\n" in printed.out
    assert "MISSING nyu_depth_v2_labeled.mat" in printed.out
    assert "official page: https://cs.nyu.edu/" in printed.out
    assert "SourceError: not whole are nyuv2: 2 of 2 parts." in printed.err
    (tmp_path / "nyuv2").mkdir()
    with (tmp_path / "nyuv2" / "nyu_depth_v2_labeled.mat").open("wb") as file:
        file.truncate(MAT_BYTES)  # a hole: no bytes on the disk
    (tmp_path / "nyuv2" / "splits.mat").touch()
    assert ended("nyuv2", "form=mat", root) == 0
    printed = capsys.readouterr()
    assert "MISSING" not in printed.out
    assert "official page" not in printed.out


def test_without_names_every_dataset_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert ended(f"root={tmp_path}") == 1
    printed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in printed.splitlines() if not line.startswith(" ")] == names.known()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "data: say data status [DATASET ...] [root=FOLDER]. Datasets: ade20k, "),
        (["stauts"], "data: say data status"),
        (["status", "ade2k"], "no dataset 'ade2k' is described. Did you mean 'ade20k'?"),
        (["status", "kitti", "form=mat"], "form is 'mat', and kitti has meta_prompts"),
        (["status", "kitti", "rot=/x"], "unknown setting 'rot'. Did you mean 'root'?"),
        (["status", "a]: b"], "no dataset 'a]: b' is described."),
    ],
)
def test_wrong_words_are_one_message(words: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    assert program.status("jobs.data", words) == 1
    assert said in capsys.readouterr().err


def test_every_shipped_build_of_a_published_dataset_is_read_by_one_that_is_described() -> None:
    shipped = {path.stem for path in (ROOT / "configs" / "build").glob("*.yaml") if not path.stem.startswith("own_")}
    described = [build for name in names.known() for build in names.described(name).builds]
    assert sorted(described) == sorted(shipped)


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom jobs import program\n"
        f"assert program.status('jobs.data', ['status', 'root={tmp_path}']) == 1\n"
        "print([m for m in ('torch', 'ray', 'diffusers', 'transformers') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
