"""A run whose head is compiled: trained, evaluated, stopped and gone on, with the numbers of one that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception.settings import bind, replaced
from diffusion_perception.train_job import TrainJob
from diffusion_perception.training import train
from tests.toy_runs import UNET, run_settings, write_model, write_set
from tests.tracing import traced_only
from vpd.backbones.sd_unet.unet import UNet2DConditionModel
from vpd.training.checkpoints.checkpoint import CheckpointStore
from vpd.training.worker import Worker

STEPS, STOPPED_AT = 4, 2


def job_of(folder: Path) -> TrainJob:
    """Depth on batches of four; evaluations of three and three records."""
    model, train_set = write_model(folder / "model"), write_set(folder / "set", "depth")
    torch.manual_seed(0)
    UNet2DConditionModel(**{key: value for key, value in UNET.items() if key[0] != "_"}).save_pretrained(model / "unet")
    settings = run_settings("depth", train_set, model, folder)
    settings["run"] = {"name": "plain", "out": str(folder), "workers": 0}
    settings["optim"] = {"lr": 1e-3, "schedule": {"name": "poly"}}
    settings["loop"] = {"steps": STEPS, "log_every_steps": 1, "eval_every_steps": 2, "mfu": "always"}
    settings["data"] |= {"threads": 0, "eval_batch_size": 3}
    return bind(TrainJob, settings)


def last_weights(job: TrainJob) -> dict[str, torch.Tensor]:
    store = CheckpointStore(job.folder)
    return store.load(store.named("last", ""), "model")


def told(job: TrainJob) -> dict[tuple[str, int], dict[str, Any]]:
    """What a run logs, by its kind and step."""
    lines = [json.loads(line) for line in Path(job.folder, "log.jsonl").read_text().splitlines()]
    return {(line["kind"], line["step"]): line for line in lines if line["kind"] in ("train", "val")}


def test_a_compiled_head_trains_evaluates_and_goes_on_like_a_plain_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = job_of(tmp_path)
    compiled = replaced(plain, {"run.name": "compiled", "loop.compile_head": True})
    train(plain, Worker())
    assert "which compiles" not in capsys.readouterr().out
    with traced_only():
        torch._dynamo.utils.counters.clear()
        train(replaced(compiled, {"loop.stop_after_steps": STOPPED_AT}), Worker())
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # in training, and in evaluations
    with traced_only():
        train(compiled, Worker())
    assert capsys.readouterr().out.count("the first step, which compiles, took") == 2
    expected, found = told(plain), told(compiled)
    assert found.keys() == expected.keys()
    assert len(found) == STEPS + STEPS // 2
    for key, line in expected.items():
        names = ("loss",) if key[0] == "train" else ("rmse", "abs_rel")
        assert [found[key][name] for name in names] == pytest.approx([line[name] for name in names], rel=1e-4)
        assert key[0] == "val" or found[key]["mfu"] > 0  # operations are those of a network that is not compiled
    weights, compiled_weights = (last_weights(job) for job in (plain, compiled))
    assert weights.keys() == compiled_weights.keys()
    for name, values in weights.items():
        torch.testing.assert_close(compiled_weights[name], values, rtol=1e-3, atol=1e-4, msg=name)
