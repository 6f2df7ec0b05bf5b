"""The command `check`: its page, its status, what it needs, and that a build rejects what it names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from toy_jobs import build_here

from diffusion_perception.building.builder import BuildJob
from diffusion_perception.building.inspection import inspect_build
from diffusion_perception.settings import bind
from jobs import check, program
from shards.errors import SourceError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """A build of six pictures: one without a label, one damaged, one with a value that nobody declared."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for number in range(6):
        pixels, label = random.integers(0, 255, (40, 48, 3)), random.integers(0, 2, (40, 48))
        label[0] += 7 * (number == 4)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"images/train/{number}.png")
        Image.fromarray(label.astype(np.uint8)).save(tmp_path / f"labels/train/{number}.png")
    (tmp_path / "labels/train/1.png").unlink()
    (tmp_path / "images/train/2.png").write_bytes(b"no picture")
    return {
        "name": "toy",
        "source": {"name": "image_folders", "root": str(tmp_path), "classes": ["<b>low", "high"]},
        "splits": ["train"],
        "views": {"name": "exact", "size": 64},
        "image": {"name": "sd_vae", "model": "/absent"},
        "settings": {"max_rejects": 0.6, "records_per_shard": 6, "image_batch": 2},
        "out": str(tmp_path / "sets"),
    }


def written(job: dict[str, Any], folder: Path) -> str:
    (folder / "build.yaml").write_text(yaml.safe_dump(job))
    return str(folder / "build.yaml")


def test_the_page_holds_its_pictures_and_loads_nothing(
    job: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.run([written(job, tmp_path), f"page={tmp_path / 'look.html'}"])
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 2 * 3
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    assert "&lt;b&gt;low" in page
    assert "<b>low" not in page
    assert "a build would begin" in page
    assert "labels/train/1.png does not exist" in page
    printed = capsys.readouterr().out
    assert "train: 6 pictures looked at, 3 can be used, 3 cannot" in printed
    assert not (tmp_path / "sets").exists()


def test_what_a_build_would_refuse_ends_with_an_error_after_the_page(job: dict[str, Any], tmp_path: Path) -> None:
    words = ["--config", written(job, tmp_path), "settings.max_rejects=0.4", f"page={tmp_path / 'look.html'}"]
    with pytest.raises(SourceError, match="refused for what is found in train"):
        check.run(words)
    page = (tmp_path / "look.html").read_text()
    assert "3 of 6 examples were rejected, max_rejects allows 40.00%" in page
    assert "shards are kept" not in page, "nothing was built"
    assert program.status("jobs.check", words) == 1


def test_a_build_rejects_what_check_names(job: dict[str, Any], tmp_path: Path, tiny_sd: Path) -> None:
    job["image"]["model"] = str(tiny_sd)
    (found,) = inspect_build(bind(BuildJob, job), lambda line: None)
    build_here(job)
    lines = (tmp_path / "sets/toy-train/rejects.jsonl").read_text().splitlines()
    rejected = {(line["key"], line["reason"]) for line in map(json.loads, lines)}
    assert rejected == {(reject.key, reject.reason) for reject in found.tally.rejects}
    assert {key for key, _ in rejected} == {"1", "2", "4"}


def test_neither_ray_nor_torch_is_needed(job: dict[str, Any], tmp_path: Path) -> None:
    words = [written(job, tmp_path), f"page={tmp_path / 'look.html'}"]
    code = f"import sys; sys.modules['ray'] = sys.modules['torch'] = None\nfrom jobs import check; check.run({words})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "of which build"),
        (["configs/build/own_seg.yaml", "page=/absent/look.html"], "/absent is not a folder"),
        (["configs/build/own_seg.yaml", "source.rot=/x"], "Did you mean 'root'"),
        (["configs/build/own_seg.yaml", "source.root=/absent"], "a build would be refused"),
    ],
)
def test_wrong_words_are_one_message(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.status("jobs.check", words) == 1
    assert says in capsys.readouterr().err


def test_a_source_from_outside_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    job = {
        "name": "squares",
        "source": {"name": "outside.squares", "pictures": 3},
        "splits": ["train", "val"],
        "views": {"name": "exact", "size": 32},
        "image": {"name": "outside.patch_means"},
        "text": {"name": "outside.word_codes"},
    }
    train, val = inspect_build(bind(BuildJob, job), lambda line: None)
    assert (train.tally.pictures, train.tally.sentences, train.tally.words) == (3, 6, {3: 6})
    assert not train.refusals + val.refusals
    assert len(train.tally.drawings) == 3
