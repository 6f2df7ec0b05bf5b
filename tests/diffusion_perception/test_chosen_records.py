"""A run on a subset or a mixture: the same batches on any workers, exact resume; what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diffusion_perception import training
from diffusion_perception.assembly.sets import check_sets, open_set, open_training_set
from diffusion_perception.evaluation import EvaluateJob, evaluate
from diffusion_perception.forecast.training import forecast_training
from diffusion_perception.report.predictions import ExampleOptions, extremes
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob, placed
from shards.errors import ConfigError, ContractError, SchemaMismatch
from shards.reading.reader import ShardSet
from tests.shards.toy_set import write_toy_set
from tests.toy_runs import run_settings, write_set
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.tasks.depth import task as depth
from vpd.training.feeding import Parts, open_stream, unseen_views
from vpd.training.selection import MixConfig, MixedSetConfig, SubsetConfig
from vpd.training.settings import DataConfig, TrainConfig
from vpd.training.worker import Worker

Rows = list[tuple[int, int]]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chosen")
    for name in ("large", "small"):
        write_set(folder / name, "depth")
    write_set(folder / "wide", "depth", side=16)
    return folder


def mixed(sets: Path, **options: Any) -> TrainConfig:
    """Three of the large set to one of some records of the small one."""
    config = toy_config(sets / "large", **options)
    other = MixedSetConfig(str(sets / "small"), 1, SubsetConfig(where={"class_id": [0, 1]}))
    return replace(config, data=replace(config.data, mix=MixConfig((other,), 3)))


def batches(config: TrainConfig, world: int, start: int, stop: int) -> list[Rows]:
    parts = Parts(depth.build(crop="none"), ToyNetwork(), open_training_set(config.data))  # type: ignore[arg-type]
    found: list[Rows] = [[] for _ in range(stop - start)]
    for rank in range(world):
        with open_stream(config, parts, Worker(rank=rank, world=world), start, stop) as stream:
            for batch, rows in zip(stream, found, strict=True):
                rows += zip(batch.records.tolist(), batch.rows.tolist(), strict=True)
    return found


def test_a_step_has_the_same_batch_on_any_workers_wherever_it_begins(sets: Path) -> None:
    config = mixed(sets)
    config = replace(config, data=replace(config.data, batch_size=6))
    whole = batches(config, 1, 0, 12)
    assert [len(rows) for rows in whole] == [6] * 12
    assert sum(record >= 6 for rows in whole for record, _ in rows) == 18, "one draw of four"
    for world, start in ((2, 0), (3, 5), (6, 11)):
        assert batches(config, world, start, 12) == whole[start:]


def test_a_stopped_run_on_a_mixture_goes_on_to_the_same_losses(sets: Path, tmp_path: Path) -> None:
    once = toy_train(tmp_path / "once", mixed(sets))
    first = toy_train(tmp_path / "twice", mixed(sets, stop_after_steps=4))
    assert first | toy_train(tmp_path / "twice", mixed(sets)) == once
    other = mixed(sets)
    other = replace(other, data=replace(other.data, mix=replace(other.data.mix, weight=1)))
    with pytest.raises(ContractError, match=r"mixture\.shares\.0\.0: 3 here, 1 in"):
        toy_train(tmp_path / "twice", other)


def settings(sets: Path, out: Path, model: Path, **data: Any) -> dict[str, Any]:
    found = run_settings("depth", sets / "large", model, out)
    found |= {"run": {"name": "run", "out": str(out), "workers": 0}, "optim": {}}
    found |= {"loop": {"steps": 2, "log_every_steps": 1}}
    found["data"] |= data
    return found


def test_a_run_trains_on_one_share_and_is_scored_on_the_other(tiny_sd: Path, tmp_path: Path) -> None:
    width = json.loads((tiny_sd / "unet" / "config.json").read_text())["cross_attention_dim"]
    write_set(tmp_path / "large", "depth", width=width)
    (tmp_path / "keys.txt").write_text("image0\nimage5\n\nimage3\n")
    mix = {"sets": [{"set": str(tmp_path / "large"), "subset": {"keys": str(tmp_path / "keys.txt")}}], "temperature": 2}
    chosen = {"subset": {"share": [0, 0.7], "seed": 2}, "val_subset": {"share": [0.7, 1], "seed": 2}, "mix": mix}
    job = bind(TrainJob, settings(tmp_path, tmp_path / "runs", tiny_sd, **chosen))
    found = forecast_training(placed(job))
    assert found.sets.train is not None
    assert found.sets.train.n_items == 4 + 3
    training.train(job)
    lines = [json.loads(line) for line in (tmp_path / "runs" / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2]
    run = str(tmp_path / "runs" / "run")
    scored = evaluate(EvaluateJob(run=run, out=str(tmp_path / "scores.json")))
    assert scored["sets"]["large"]["samples"] == 2, "as in training"
    assert extremes(run, ExampleOptions(1), print)[0].scored == 2, "a report looks at what was scored"
    named = evaluate(EvaluateJob(run=run, sets=(str(tmp_path / "large"),), out=str(tmp_path / "all.json")))
    assert named["sets"]["large"]["samples"] == 6, "a set that is named is scored whole"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"subset": {"shares": [0, 1]}}, r"unknown setting 'data.subset.shares'. Did you mean 'share'"),
        ({"subset": {"share": [0.5, 0.5]}}, r"share is \[0.5, 0.5\]"),
        ({"subset": {"where": {"class_id": {"from": 1}}}}, "where.class_id has 'from'"),
        ({"mix": {"weight": 2}}, "names none; set data.mix.sets"),
        ({"mix": {"sets": [{"set": "a", "weight": 2}]}}, "1 of 2 sets have a weight"),
        ({"mix": {"sets": [{"set": "a", "weigth": 2}]}}, "Did you mean 'weight'"),
        ({"mix": {"sets": [{"set": "a"}], "stages": [{"from_sample": 5, "weights": [1]}]}}, r"1 weights \(1\) for 2"),
        ({"mix": {"sets": [{"set": "a"}]}, "latents": "online"}, "pixels come from one data.source"),
        ({"val": "", "val_subset": {"share": [0.5, 1]}}, "data.val names none"),
    ],
)
def test_settings_that_choose_nothing_are_refused(sets: Path, tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bind(TrainJob, settings(sets, tmp_path, tmp_path, **data))


def test_a_set_of_sentences_with_views_that_are_never_used_says_so(sets: Path, tmp_path: Path) -> None:
    write_toy_set(tmp_path / "toy", (4, 2))
    assert unseen_views(ShardSet.open(tmp_path / "toy").manifest) == (
        "toy has 9 views of 6 pictures, items are sentences: each is shown with the first view of its picture, "
        "the others are never used"
    )
    assert unseen_views(ShardSet.open(sets / "large").manifest) == ""


def test_sets_and_records_that_do_not_fit_are_refused(sets: Path, tmp_path: Path, tiny_sd: Path) -> None:
    job = bind(TrainJob, settings(sets, tmp_path, tiny_sd, mix={"sets": [{"set": str(sets / "wide")}]}))
    for opened in (open_training_set, lambda data: check_sets(job)):
        with pytest.raises(SchemaMismatch, match=r"large and wide cannot be mixed: of field latent .*8.*16"):
            opened(job.data)
    data = DataConfig(str(sets / "large"))
    with pytest.raises(ConfigError, match=r"where.clas_id: no meta of large has it. Did you mean 'class_id'"):
        open_set(data.train, data, SubsetConfig(where={"clas_id": 1}))
    with pytest.raises(ConfigError, match=r"keys=.*nowhere.txt: .*No such file"):
        open_set(data.train, data, SubsetConfig(keys=str(tmp_path / "nowhere.txt")))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="the file holds no key"):
        open_set(data.train, data, SubsetConfig(keys=str(tmp_path / "empty.txt")))
