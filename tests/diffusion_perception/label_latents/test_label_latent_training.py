"""A run that answers in latents, from the command: it learns, resumes, is scored and predicts; and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from depth_rooms import MODEL, VIEWS, write_rooms
from PIL import Image
from safetensors.torch import load_file, save_file

from diffusion_perception import Predictor, ShardSet
from jobs import build_prompts, evaluate, label_latents, program, train
from pipeline.encoders.sd_vae import decoder
from shards.contract.manifest import Manifest
from shards.errors import ConfigError, FingerprintMismatch
from shards.geometry.view import View
from vpd.tasks import depth_label_latents

WHOLE = View((64, 64), (0, 0, 80, 64), (64, 64), (0, 0, 64, 64))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with label latents in both spaces, and the null prompt."""
    root = tmp_path_factory.mktemp("label_latent_training")
    write_rooms(root / "rooms", [WHOLE])
    for space in ("depth", "disparity"):
        told = [f"model={MODEL}", f"set={root}/rooms", f"out={root}/{space}", f"space={space}", "device=cpu"]
        label_latents.run(told)
    told = ["names=['']", "prompts.templates=name", "prompts.mode=tokens", "text.length=4", f"text.model={MODEL}"]
    build_prompts.run([*told, f"out={root}/null", "device=cpu"])
    return root


def settings(world: Path, out: Path, **over: Any) -> list[str]:
    """The words of a training command, with its configuration written."""
    plain = {
        "run": {"name": "run", "out": str(out), "workers": 0},
        "task": {"name": "depth_label_latents", "tokens": 4, "crop": "none"},
        "backbone": {"name": "sd_unet", "model": str(MODEL), "attention_maps": "", "timestep": 999, "own_output": True},
        "data": {"train": f"{world}/depth", "val": f"{world}/depth", "batch_size": 4, "table": f"{world}/null"},
        "model": {"latent_scale": 0.18215, "head": {"model": str(MODEL)}},
        "optim": {"lr": 1e-3, "schedule": {"name": "poly", "power": 0}},
        "loop": {"steps": 30, "log_every_steps": 1, "eval_every_steps": 30, "pictures": 1},
    }
    out.mkdir(exist_ok=True)
    (out / "run.yaml").write_text(yaml.safe_dump(plain))
    return ["--config", f"{out}/run.yaml", *(f"{name}={value}" for name, value in over.items())]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line and "step" in line]


def test_a_run_learns_is_scored_and_predicts(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(settings(world, tmp_path))
    found = losses(tmp_path / "run")
    assert found[-1] < found[0] / 3, "four pictures, learned by heart"
    evaluate.run([f"run={tmp_path}/run", "workers=0", f"sets=[{world}/depth]"])
    scores = json.loads((tmp_path / "run" / "evaluation-step-30.json").read_text())["sets"]["depth"]
    assert scores["samples"] == 4
    assert scores["abs_rel"] < 0.2
    assert scores["d1"] > 0.7
    predictor = Predictor(str(tmp_path / "run"), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    (answer,) = predictor(image)
    assert answer.shape == (1, 48, 80)
    assert 0 <= answer.min() <= answer.max() <= 1
    assert answer.std() > 0
    task = predictor.task
    for name in ("depth.npy", "depth.tif", "depth.png"):
        task.export(answer, tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "depth.npy"), answer[0])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "depth.tif")), answer[0])
    with Image.open(tmp_path / "depth.png") as picture:
        np.testing.assert_allclose(np.asarray(picture) / 65535, answer[0], atol=1e-5)
        assert picture.info["unit"] == "1/65535 of relative depth, no unit of length"
    predictor.save_pretrained(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    moved = Predictor.from_pretrained(str(tmp_path / "elsewhere"), device="cpu")
    head: Any = moved.trained.model.head
    assert Path(head.model) == tmp_path / "elsewhere", "it decodes with the VAE that lies in the folder"
    (again,) = moved(image)
    np.testing.assert_allclose(again, answer, atol=1e-4)
    assert task.draw(image, answer).shape == (48, 80, 3)
    assert task.legend(image, answer).title == "relative depth, no unit"


def test_twenty_steps_lower_the_loss_of_the_decoded_answer(world: Path, tmp_path: Path) -> None:
    told = {"task.loss": "decoded", "task.space": "disparity", "loop.steps": 20, "loop.eval_every_steps": 20}
    told |= dict.fromkeys(("data.train", "data.val"), f"{world}/disparity")
    train.run(settings(world, tmp_path, **told, **{"data.micro_batch_size": 2, "optim.lr": 5e-4}))
    found = losses(tmp_path / "run")
    assert len(found) == 20
    assert np.mean(found[-3:]) < 0.7 * np.mean(found[:3])
    scored = Predictor(str(tmp_path / "run"), device="cpu")
    assert scored(np.zeros((48, 80, 3), np.uint8))[0].shape == (1, 48, 80)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(world: Path, tmp_path: Path) -> None:
    told = {"loop.steps": 4, "loop.eval_every_steps": 2, "data.batch_size": 2}
    train.run(settings(world, tmp_path / "whole", **told))
    train.run(settings(world, tmp_path / "cut", **told, **{"loop.stop_after_steps": 2}))
    assert len(losses(tmp_path / "cut" / "run")) == 2
    train.run(settings(world, tmp_path / "cut", **told))
    assert losses(tmp_path / "cut" / "run") == losses(tmp_path / "whole" / "run")


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"data.table": ""}, "attends to the null prompt, and the class table has 3 rows"),
        ({"task.space": "disparity"}, "holds label latents of depth, task.space is disparity"),
        ({"backbone.own_output": "false"}, "set backbone.own_output=true"),
        ({"backbone.attention_maps": "up"}, "own_output gives the UNet's prediction alone"),
        ({"data.train": "{world}/rooms"}, "has no label_latent"),
        ({"data.train": "{world}/rooms", "task.loss": "decoded"}, "has no label_ends"),
    ],
)
def test_what_cannot_be_is_one_message(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], over: dict[str, str], said: str
) -> None:
    over = {name: value.replace("{world}", str(world)) for name, value in over.items()}
    assert program.status("jobs.train", settings(world, tmp_path, **over)) == 1
    assert said in capsys.readouterr().err


def test_another_vae_than_the_one_that_made_the_label_latents_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(MODEL / "vae", tmp_path / "other" / "vae")
    (weights,) = (tmp_path / "other" / "vae").glob("*.safetensors")
    values = load_file(weights)
    values["encoder.conv_in.weight"] *= 1.01
    save_file(values, weights)
    words = settings(world, tmp_path, **{"model.head.model": str(tmp_path / "other")})
    assert program.status("jobs.train", words) == 1
    said = capsys.readouterr().err
    assert "the VAE of the head of this configuration is not the one" in said
    assert "Set model.head.model to the model the set was built with" in said
    train.run(settings(world, tmp_path / "own", **{"loop.steps": 1}))
    trained = Predictor(str(tmp_path / "own" / "run"), device="cpu").trained
    head: Any = trained.model.head
    trained.encoders_for(Manifest.load(world / "depth"))
    head.model = str(tmp_path / "other")
    with pytest.raises(FingerprintMismatch, match="VAE of the head"):
        trained.encoders_for(Manifest.load(world / "depth"))
    trained.encoders_for(Manifest.load(world / "rooms"))  # holds none: only scores are asked for


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_what_a_label_latent_decodes_to_scores_as_the_decoder_is(world: Path, space: str) -> None:
    task = depth_label_latents.build(space=space, crop="none")
    record, (decode, _) = ShardSet.open(world / space).record(0), decoder(str(MODEL))
    levels = decode(record.array("label_latent")[0]).astype(np.float32).mean(axis=2)
    metric = task.new_metric()
    task.score(metric, record, torch.from_numpy(levels / 127.5 - 1)[None, None])
    scores = metric.compute()
    assert scores["abs_rel"] < 0.1
    assert scores["d1"] > 0.9


def test_relative_depth_of_several_windows_is_refused(world: Path, tmp_path: Path) -> None:
    write_rooms(tmp_path / "windows", VIEWS[:2])
    task = depth_label_latents.build()
    with pytest.raises(ConfigError, match="room0 is shown in 2 windows, and relative depth has a scale of its own"):
        task.samples(ShardSet.open(tmp_path / "windows").record(0))
