"""Features of known samples in place of the backbone's pass: the same run, and what of it is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception.settings import bind, replaced
from diffusion_perception.train_job import TrainJob
from diffusion_perception.training import train
from shards.errors import ConfigError
from tests.toy_runs import UNET, run_settings, write_model, write_set
from vpd.backbones.sd_unet.unet import UNet2DConditionModel
from vpd.model.perception import Perception
from vpd.training.step import kept_features
from vpd.training.step.kept_features import bytes_of_sample, samples_held
from vpd.training.worker import Worker

RECORDS, BATCH, STEPS = 6, 4, 6  # four epochs
SCORES = {"refer": "mIoU", "depth": "rmse", "seg": "aAcc"}


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[..., TrainJob]:
    model = write_model(tmp_path / "model")
    torch.manual_seed(0)
    UNet2DConditionModel(**{key: value for key, value in UNET.items() if key[0] != "_"}).save_pretrained(model / "unet")

    def job(task: str, name: str, changes: dict[str, Any]) -> TrainJob:
        train_set = tmp_path / task
        settings = run_settings(task, train_set if train_set.exists() else write_set(train_set, task), model, tmp_path)
        settings["run"] = {"name": name, "out": str(tmp_path / "runs"), "workers": 0}
        settings["optim"] = {"lr": 1e-3, "schedule": {"name": "poly"}}
        settings["loop"] = {"steps": STEPS, "log_every_steps": 1, "eval_every_steps": 3}
        settings["data"] |= {"threads": 0, "batch_size": BATCH}
        settings["model"] = settings.get("model", {}) | {"train": "head"}
        return replaced(bind(TrainJob, settings), changes)

    return job


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of every pass of the backbone in training."""
    seen, features = [], Perception.features

    def counted(self: Perception, latents: torch.Tensor, context: torch.Tensor | None) -> Any:
        if self.training:
            seen.append(len(latents))
        return features(self, latents, context)

    monkeypatch.setattr(Perception, "features", counted)
    return seen


def logged(job: TrainJob, kind: str, name: str) -> list[float]:
    lines = [json.loads(line) for line in Path(job.folder, "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if line["kind"] == kind]


def assert_alike(one: TrainJob, other: TrainJob, score: str) -> None:
    """Batches of other sizes round otherwise, and Adam makes steps of it where a gradient is nothing else."""
    for kind, name in (("train", "loss"), ("val", score)):
        expected = logged(other, kind, name)
        assert len(expected) == (STEPS if kind == "train" else 2)
        assert logged(one, kind, name) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("task", SCORES)
def test_a_run_is_the_same_and_passes_every_sample_once(
    task: str,
    where: str,
    job_of: Callable[..., TrainJob],
    passed: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mapped, map_file = [], torch.from_file
    monkeypatch.setattr(torch, "from_file", lambda *at, **how: (mapped.append(how["size"]), map_file(*at, **how))[1])
    folder = tmp_path / "features"
    folder.mkdir()
    keeping = {"loop.keep_features_gb": 0.1, "loop.keep_features_in": str(folder) if where == "file" else ""}
    plain, kept = job_of(task, "plain", {}), job_of(task, "kept", keeping)
    train(plain, Worker())
    assert passed == [BATCH] * STEPS
    passed.clear()
    train(kept, Worker())
    assert sum(passed) == RECORDS
    assert bool(mapped) == (where == "file")
    assert_alike(kept, plain, SCORES[task])
    assert not list(folder.iterdir())


def test_parts_of_a_batch_and_a_run_that_goes_on(job_of: Callable[..., TrainJob], passed: list[int]) -> None:
    """SiLog is of all pixels of a batch, so its parts are passed twice: with known features, by the head alone."""
    changes = {"data.micro_batch_size": 3, "optim.ema_decay": 0.9}
    plain, kept = job_of("depth", "plain", changes), job_of("depth", "kept", changes | {"loop.keep_features_gb": 0.1})
    train(plain, Worker())
    passed.clear()
    train(replaced(kept, {"loop.stop_after_steps": 3}), Worker())
    train(kept, Worker())
    assert sum(passed) == 2 * RECORDS  # of each start
    assert_alike(kept, plain, "rmse")


def test_what_there_is_no_room_for_is_computed_whenever_it_comes(
    job_of: Callable[..., TrainJob], passed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[kept_features.KeptFeatures] = []
    begin = kept_features.KeptFeatures.__init__
    monkeypatch.setattr(
        kept_features.KeptFeatures, "__init__", lambda self, *given: (made.append(self), begin(self, *given))[1]
    )
    plain = job_of("seg", "plain", {"data.batch_size": 3})  # 6 records in twos: none comes twice in a batch
    for room in (RECORDS, 0, 2):
        passed.clear()
        size = sum(level[0].nbytes for level in made[0]._levels) if made else kept_features.GB
        changes = {"data.batch_size": 3, "loop.keep_features_gb": (room + 0.5) * size / kept_features.GB}
        kept = job_of("seg", f"room{room}", changes)
        train(kept, Worker())
        assert len(made[-1]) == room
        assert sum(passed) == RECORDS + 2 * (RECORDS - room)  # three epochs
        if room == 2:
            train(plain, Worker())
            assert_alike(kept, plain, "aAcc")


def test_their_size_is_known_before(job_of: Callable[..., TrainJob], monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusion_perception.forecast.figures import lines
    from diffusion_perception.forecast.training import forecast_training

    made: list[kept_features.KeptFeatures] = []
    begin = kept_features.KeptFeatures.__init__
    monkeypatch.setattr(
        kept_features.KeptFeatures, "__init__", lambda self, *given: (made.append(self), begin(self, *given))[1]
    )
    job = job_of("seg", "kept", {"loop.keep_features_gb": 0.1})
    forecast = forecast_training(job, dry=True)
    assert forecast.model is not None
    train(job, Worker())
    levels = forecast.model.backbone.spec(forecast.sets.tokens).levels
    assert bytes_of_sample(levels, (64, 64), 4) == sum(level[0].nbytes for level in made[0]._levels)
    (said,) = [line for line in lines(forecast) if line.startswith("features that a worker keeps in memory")]
    assert f"{RECORDS} samples" in said
    assert "computed whenever" not in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.train": "frozen"}, r"keep_features_gb is 1, and model\.train is 'frozen', .*They stay with `head`"),
        ({"model.train": "full"}, r"model\.train is 'full'"),
        ({"loop.cuda_graphs": True}, r"so is loop\.cuda_graphs"),
    ],
)
def test_features_that_change_are_not_kept(
    changes: dict[str, Any], message: str, job_of: Callable[..., TrainJob]
) -> None:
    job = job_of("depth", "run", {"loop.keep_features_gb": 1.0} | changes)
    with pytest.raises(ConfigError, match=message):
        kept_features.check_kept(job.training)


def test_a_folder_without_room_is_refused(job_of: Callable[..., TrainJob], tmp_path: Path) -> None:
    job = job_of("depth", "run", {"loop.keep_features_gb": 1.0, "loop.keep_features_in": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"none cannot hold .* GB of features, No such file or directory"):
        train(job, Worker())


def test_more_than_there_is_memory_for_is_refused(job_of: Callable[..., TrainJob]) -> None:
    """As much as anybody may write, which is all there is for a set that is small."""
    loop = job_of("depth", "run", {"loop.keep_features_gb": 1e300}).loop
    assert samples_held(loop, RECORDS, 5) == RECORDS
    kept = kept_features.KeptFeatures(None, None, nullcontext, loop, 10**10)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"keep_features_gb is 1e\+300, .* no memory for 40960000\.00 GB"):
        kept._keep([(0, 0, False)], [torch.zeros(1, 16, 256, 250)])


def test_a_system_that_reserves_no_room_in_files_says_so(
    job_of: Callable[..., TrainJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    job = job_of("depth", "run", {"loop.keep_features_gb": 1.0, "loop.keep_features_in": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"cannot reserve room in a file.*Leave it out"):
        train(job, Worker())


def test_a_folder_for_nothing_is_refused(job_of: Callable[..., TrainJob]) -> None:
    with pytest.raises(ConfigError, match=r"keep_features_gb 0, so nothing is kept"):
        job_of("depth", "run", {"loop.keep_features_in": "somewhere"})
