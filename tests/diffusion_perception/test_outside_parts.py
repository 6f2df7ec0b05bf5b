"""A dataset, two encoders, a backbone, a task and a head from outside the project: a set is built and trained on, and
no file of the project names them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diffusion_perception.assembly.sets import check_sets
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from tests.jobs.toy_jobs import build_here, train_here

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def outside_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def build_settings(out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "squares",
        "source": {"name": "outside.squares", "pictures": 6},
        "splits": ["train"],
        "views": {"name": "exact", "size": 32},
        "image": {"name": "outside.patch_means"},
        "text": {"name": "outside.word_codes", "length": 4},
        "out": str(out / "sets"),
        "settings": {"records_per_shard": 4, "image_batch": 4},
        **changes,
    }


def train_settings(out: Path, **data: Any) -> dict[str, Any]:
    return {
        "run": {"name": "run", "out": str(out)},
        "task": {"name": "outside.find_square"},
        "backbone": {"name": "outside.two_levels", "channels": 8},
        "data": {"train": str(out / "sets" / "squares-train"), "batch_size": 4, **data},
        "optim": {"lr": 1e-2},
        "loop": {"steps": 2, "log_every_steps": 1},
    }


@pytest.mark.parametrize("text", ["states", "tokens"])
def test_parts_from_outside_build_a_set_and_train_on_it(text: str, tmp_path: Path) -> None:
    build_here(build_settings(tmp_path, settings={"records_per_shard": 4, "image_batch": 4, "text": text}))
    shards = ShardSet.open(tmp_path / "sets" / "squares-train")
    assert shards.record(0).array("latent").shape == (1, 3, 8, 8)
    check_sets(bind(TrainJob, train_settings(tmp_path)))
    losses = train_here(train_settings(tmp_path))
    assert list(losses) == [1, 2]
    assert losses[2] < losses[1]
    state = json.loads(next((tmp_path / "run").glob("step-*2/state.json")).read_text())
    assert state["config"]["backbone"]["name"] == "outside.two_levels"


def test_a_task_without_scores_is_not_evaluated(tmp_path: Path) -> None:
    build_here(build_settings(tmp_path, splits=["train", "val"]))
    job = bind(TrainJob, train_settings(tmp_path, val=str(tmp_path / "sets" / "squares-val")))
    with pytest.raises(ConfigError, match=r"task find_square has no scores.*data\.val"):
        check_sets(job)


def test_each_part_fits_on_a_page_and_the_project_does_not_know_it() -> None:
    parts = sorted((EXAMPLES / "outside").glob("*.py"))
    used = {"squares", "patch_means", "word_codes", "two_levels", "find_square", "one_convolution"}
    assert used <= {part.stem for part in parts}
    assert all(len(part.read_text().splitlines()) < 40 for part in parts)
    ours = ["shards", "pipeline", "vpd", "diffusion_perception", "jobs"]
    named = subprocess.run(
        ["grep", "-rlE", r"[\"' ]outside\.[a-z]", "--include=*.py", *ours], cwd=ROOT, capture_output=True, text=True
    )
    assert named.stdout == ""
