"""The commands without workers: training and evaluation in their own process, where no cluster can be reached."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import fsspec
import pytest
import torch
import yaml
from toy_jobs import losses_of, train_here, train_settings

from diffusion_perception.evaluation import EvaluateJob
from diffusion_perception.train_job import RunConfig
from diffusion_perception.trained import load_trained
from jobs import evaluate, program, train
from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from vpd.training.checkpoints.checkpoint import CheckpointStore


def test_training_and_evaluation_without_workers_need_no_cluster(
    sets: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nothing answers there
    settings = train_settings(
        sets, tiny_sd, tmp_path, over={"loop.steps": 2, "loop.eval_every_steps": 2, "optim.ema_decay": 0.5}
    )
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    train.run(["--config", f"{tmp_path}/run.yaml", "run.workers=0"])
    assert "in this process, " in capsys.readouterr().out
    assert losses_of(tmp_path / "run") == pytest.approx(
        train_here({**settings, "run": {"name": "b", "out": str(tmp_path)}})
    )

    evaluate.run([f"run={tmp_path}/run", "workers=0"])
    said = capsys.readouterr().out
    assert "tiny-val" in said
    assert "step-000000002, averaged weights" in said
    store = CheckpointStore(str(tmp_path / "run"))
    average = store.load(store.named("last", ""), "average")
    loaded = load_trained(str(tmp_path / "run"), "last", torch.device("cpu")).model
    assert all(torch.equal(loaded.get_parameter(name), value) for name, value in average.items())
    written = json.loads((tmp_path / "run" / "evaluation-step-2.json").read_text())
    assert written["fingerprints"] == {"tiny-val": ShardSet.open(sets / "tiny-val").manifest.fingerprint}
    scores = written["sets"]["tiny-val"]
    assert scores["samples"] == ShardSet.open(sets / "tiny-val").manifest.counts["sentence"]

    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the cache and of what is on its way
    monkeypatch.setattr(tempfile, "tempdir", None)
    memory, bucket = fsspec.filesystem("memory"), tmp_path.name
    memory.put(str(sets / "tiny-val"), f"/{bucket}/tiny-val", recursive=True)
    words = [
        f"sets=[memory://{bucket}/tiny-val]",
        f"out=memory://{bucket}/scores.json",
        f"export=memory://{bucket}/out",
    ]
    evaluate.run([f"run={tmp_path}/run", "workers=0", *words])
    assert json.loads(memory.cat_file(f"/{bucket}/scores.json"))["sets"]["tiny-val"] == scores
    assert len(memory.find(f"/{bucket}/out/tiny-val")) == scores["samples"]


@pytest.mark.parametrize(
    ("workers", "gpus", "match"), [(-1, -1, "is -1; expected 1 or more, or 0"), (0, 1, "is 1, but")]
)
def test_workers_that_cannot_be_are_refused_with_the_other_choices(workers: int, gpus: int, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        RunConfig("run", workers=workers, gpus_per_worker=gpus)
    with pytest.raises(ConfigError, match=match):
        EvaluateJob("run", workers=workers, gpus_per_worker=gpus)


def test_without_a_cluster_a_job_says_what_to_start(
    sets: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(train_settings(sets, tiny_sd, tmp_path)))
    assert program.status("jobs.train", ["--config", f"{tmp_path}/run.yaml"]) == 1
    said = capsys.readouterr().err
    assert "no Ray cluster found" in said
    assert "ray start --head" in said
