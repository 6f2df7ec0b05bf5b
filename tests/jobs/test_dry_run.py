"""`--dry-run` of a training run refuses what the run would, with one message and a suggestion; so does the run."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import train
from shards.contract.manifest import Manifest, fingerprint
from shards.errors import ConfigError, ContractError, IncompleteSet
from shards.reading import tar_sizes
from tests.toy_runs import run_settings, write_model, write_set


@pytest.fixture(scope="module")
def files(toy_sets: Path, unet_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file for each task, and sets to be wrong with."""
    folder = tmp_path_factory.mktemp("files")
    for task in ("refer", "depth", "seg"):
        text = yaml.safe_dump(run_settings(task, toy_sets / task, unet_only, folder / "runs"))
        (folder / f"{task}.yaml").write_text(text)
    write_set(folder / "ids-only", "refer", text=False)
    write_set(folder / "four", "seg", classes=4)
    write_set(folder / "eight", "refer", channels=8)
    write_set(folder / "wide", "refer", width=48)
    whole = Manifest.load(write_set(folder / "unnamed", "refer"))
    recipe = {name: value for name, value in whole.recipe.items() if name != "text_encoder"}
    replace(whole, recipe=recipe, fingerprint=fingerprint(recipe)).write(folder / "unnamed")
    three = {"block_out_channels": [32, 32, 64], "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"]}
    write_model(folder / "three", **three, up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2)
    return folder


def dry_run(words: list[str]) -> None:
    train.run(["--dry-run", *words])


def test_a_right_configuration_is_planned(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry_run(["--config", str(files / "refer.yaml")])
    printed = capsys.readouterr().out
    assert "task:\n  name: refer" in printed
    assert "plan: parameters: " in printed
    assert "plan: memory of a worker: weights " in printed


def test_an_empty_sentence_that_no_recipe_names_is_refused_as_the_run_refuses_it(files: Path) -> None:
    sets = [f"data.{which}={files / 'unnamed'}" for which in ("train", "val")]
    words = ["--config", str(files / "refer.yaml"), *sets, "data.caption_drop=0.1"]
    with pytest.raises(ConfigError, match=r"caption_drop is 0\.1: .* names none \(text_encoder\)"):
        dry_run(words)
    with pytest.raises(ConfigError, match=r"caption_drop is 0\.1: .* names none \(text_encoder\)"):
        train.run(words)


def test_a_tar_that_is_gone_is_told_before_a_run_on_many_shards(
    files: Path, toy_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sizes are looked at by a thread, later than the first batch."""
    monkeypatch.setattr(tar_sizes, "FEW", 0)
    copy = shutil.copytree(toy_sets / "refer", tmp_path / "refer")
    whole = Manifest.load(copy)
    second = replace(whole.shards[0], name="refer-000001")
    shutil.copyfile(copy / "refer-000000.idx", copy / "refer-000001.idx")
    counts = {name: 2 * count for name, count in whole.counts.items()}
    replace(whole, shards=(whole.shards[0], second), counts=counts).write(copy)
    with pytest.raises(IncompleteSet, match=r"refer-000001\.tar: named by the manifest but not found"):
        dry_run(["--config", str(files / "refer.yaml"), f"data.val={copy}"])


def test_a_network_of_three_levels_is_planned(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = f"backbone={{name: sd_unet, model: {files}/three, attention_maps: ''}}"
    dry_run(["--config", str(files / "depth.yaml"), backbone])
    assert "plan: parameters: " in capsys.readouterr().out


def test_what_is_not_built_yet_is_said_and_assumed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every published number of parameters holds without a set, a weight or the hub; the run itself needs its sets."""
    words = ["data.train=/absent/train", "data.val=/absent/val", "backbone.model=nobody/sd1", "loop.precision=float32"]
    words = ["--config", str(files / "refer.yaml"), "model.head={}", *words]
    dry_run(words)
    printed = capsys.readouterr().out
    assert re.search(r"plan: data\.train is NOT THERE, so the run itself would be refused: .*/absent/train", printed)
    assert re.search(r"plan: data\.val is NOT THERE, .*/absent/val", printed)
    assert "plan: assumed instead: views of 512 x 512 pixels, latents [4, 64, 64], sentences of 77 tokens" in printed
    assert "plan: assumed: backbone of Stable Diffusion 1 " in printed
    # Of Stable Diffusion 1.5's 859,520,964 all but the output head: a group norm and a 3 x 3 convolution, 320 to 4.
    backbone = 859_520_964 - (2 * 320 + 320 * 4 * 9 + 4)
    groups = re.findall(r"group backbone\w*: \d+ tensors, ([\d,]+) parameters", printed)
    assert sum(int(count.replace(",", "")) for count in groups) == backbone
    assert re.search(r"AdamW 7\.2\d GB, activations about [\d.]+ GB in float32", printed)
    with pytest.raises(IncompleteSet, match="/absent/train"):
        train.run(words)


def test_a_missing_validation_set_leaves_the_other_checked(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", str(files / "refer.yaml"), "data.val=/absent/val"]
    dry_run(words)
    printed = capsys.readouterr().out
    assert "data.val is NOT THERE" in printed
    assert "plan: refer: 6 items, 12 steps of 4 on 2 worker(s), 8.0 epochs; not evaluated" in printed
    with pytest.raises(ContractError, match=r"warmup_steps is 13"):
        dry_run([*words, "optim.schedule.warmup_steps=13"])


WRONG: list[tuple[str, str, str]] = [  # task, setting, what the message says
    ("refer", "task.nonsense=1", r"unknown setting 'task\.nonsense'.* refer reads: class_weights"),
    ("depth", "task.max_depth=10", r"unknown setting 'task\.max_depth'. Did you mean 'max_depth_m'"),
    ("depth", "task.min_depth_m=deep", r"setting 'task\.min_depth_m' is 'deep'; expected float"),
    ("depth", "task.min_depth_m=20", r"min_depth_m 20.*expected 0 < min < max"),
    ("depth", "task.crop=eigenn", "Did you mean 'eigen'"),
    ("depth", "task.loss=pooling", "Did you mean 'pooled'"),
    ("seg", "task.merge=logits", "Did you mean 'logit'"),
    ("seg", "task.average=vali", "Did you mean 'valid'"),
    ("seg", "task.classes=4", r"table has 5 rows, the task 4 classes. Set task\.classes=5"),
    ("seg", "task.classes=0", "expected 1 to 255 classes"),
    ("refer", "task.name=refre", r"no module vpd\.tasks\.refre.* Did you mean 'refer'"),
    ("refer", "task.name=pose", r"set model\.prompts\.count=17"),
    ("refer", "optim.schedule.nonsense=3", r"unknown setting 'optim\.schedule\.nonsense'.* poly reads: power"),
    ("refer", "optim.schedule.warmup_step=3", "Did you mean 'warmup_steps'"),
    ("refer", "optim.schedule.warmup_steps=13", r"warmup_steps is 13, the run has 12 steps.*loop\.steps"),
    ("refer", "optim.schedule={name: polly}", "Did you mean 'poly'"),
    ("refer", "optim.schedule={name: rise_fall, rise: 2}", "expected positive shares"),
    ("refer", "optim.preset=vpd_cod", "Did you mean 'vpd_code'"),
    ("refer", "optim.lr=-1", r"optim\.lr is -1.* at least 0"),
    ("refer", "optim.betas=[0.9, 1.5]", r"optim\.betas is \[0\.9, 1\.5\]"),
    ("refer", "optim.learning_rate=1", r"unknown setting 'optim\.learning_rate'"),
    ("refer", "model.head.nonsense=2", r"unknown setting 'model\.head\.nonsense'.* refer_decoder reads: hidden"),
    ("depth", "model.head.widht=64", "Did you mean 'width'"),
    ("depth", "model.head.width=33", "must be multiples of 16"),
    ("depth", "model.head={name: depth_stages}", r"no module vpd\.heads\.depth_stages.* Did you mean 'depth_decoder'"),
    ("refer", "model.head={name: fpm}", "Did you mean 'fpn'"),
    ("depth", "model.head={name: fpn}", r"'model\.head': fpn does not fit here: it is told 'max_depth_m'"),
    ("refer", "model.head.classes=3", r"'model\.head\.classes' is 3, but it is decided elsewhere"),
    ("refer", "model.head.hidden=-4", "the network of these settings cannot be made"),
    ("refer", "model.prompts.count=5", "finds what a sentence says"),
    ("refer", "model.prompts.passes=2", r"set model\.prompts\.count"),
    ("seg", "model.prompts.count=6", "timestep null, since its times are learned"),
    ("refer", "model.init=/absent", r"model\.init=/absent.*expected a model folder"),
    ("refer", "backbone.timestep=null", "timestep a number"),
    ("refer", "backbone.output_head=true", "output_head False"),
    ("refer", "backbone.attention_maps=upp", "Places: up, down, mid"),
    ("refer", "backbone.map_levels=[2, 16]", r"selects no cross-attention layer for \[16\]"),
    ("refer", "backbone.attention_map=up", "Did you mean 'attention_maps'"),
    ("refer", "backbone={name: sd_unit}", "Did you mean 'sd_unet'"),
    ("refer", "backbone.model=/absent", r"no usable unet in '/absent': nothing is there"),
    ("refer", "data.batch_size=5", "batch size 5 does not divide by 2"),
    ("refer", "data.batch_size=0", r"data\.batch_size is 0"),
    ("refer", "data.eval_batch_size=0", r"data\.eval_batch_size is 0"),
    ("refer", "data.ahead=0", r"data\.ahead is 0"),
    ("refer", "data.latents=onlin", "Did you mean 'online'"),
    ("refer", "data.latents=online", r"set data\.source"),
    ("refer", "data.text=store", "Did you mean 'stored'"),
    ("refer", "data.train=EIGHT", r"data\.train \(eight\) holds latents of 8 channels.* reads 4"),
    ("refer", "data.train=WIDE", r"data\.train \(wide\) has text states 48 wide.* attends to 32"),
    ("refer", "encoders.image={name: clip_text}", r"encoders\.image is clip_text"),
    ("refer", "data.train=SEG", "has no tokens: it holds latent, label, meta"),
    ("seg", "data.val=DEPTH", "data.val: task seg reads latent, label and meta.* has no label"),
    ("seg", "data.val=FOUR", r"data\.val \(four\) was built with 4 classes"),
    ("seg", "data.table=/absent/x", "a table is the two files"),
    ("refer", "encoders.dtype=float61", "Did you mean 'float16'"),
    ("refer", "encoders.modell=x", "Did you mean 'model'"),
    ("refer", "loop.steps=-1", r"loop\.steps is -1"),
    ("refer", "loop.precision=bfloat", "Did you mean 'bfloat16'"),
    ("refer", "loop.step=3", "Did you mean 'steps'"),
    ("refer", "run.workers=-1", r"run\.workers is -1"),
    ("refer", "run.workers=0", r"run\.gpus_per_worker is 0, but run\.workers=0"),
    ("refer", "run.max_failures=-1", r"run\.max_failures is -1"),
    ("refer", "run.name=a/b", "name of one folder"),
    ("refer", "run.worker=2", "Did you mean 'workers'"),
    ("refer", "predict_views={name: exactt}", "Did you mean 'exact'"),
    ("refer", "predict_views={name: exact, sizes: 64}", r"unknown setting 'predict_views\.sizes'. Did you mean 'size'"),
]


def resolved(files: Path, toy_sets: Path, setting: str) -> str:
    places = {"SEG": toy_sets / "seg", "DEPTH": toy_sets / "depth"}
    places |= {name: files / name.lower() for name in ("FOUR", "EIGHT", "WIDE")}
    return re.sub(r"\b[A-Z]{3,}\b", lambda name: str(places[name[0]]), setting)


@pytest.mark.parametrize(("task", "setting", "message"), WRONG, ids=[f"{task} {setting}" for task, setting, _ in WRONG])
def test_a_wrong_setting_is_refused(files: Path, toy_sets: Path, task: str, setting: str, message: str) -> None:
    with pytest.raises(ContractError) as refused:
        dry_run(["--config", str(files / f"{task}.yaml"), resolved(files, toy_sets, setting)])
    assert re.search(message, str(refused.value), re.DOTALL), str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.text=stored"], "holds token ids only"),
        (["encoders.model=/absent"], "clip_text: no usable text_encoder in '/absent': nothing is there"),
    ],
)
def test_what_is_encoded_online_is_checked_without_its_weights(files: Path, words: list[str], message: str) -> None:
    sets = [f"data.{which}={files / 'ids-only'}" for which in ("train", "val")]
    with pytest.raises(ContractError, match=message):
        dry_run(["--config", str(files / "refer.yaml"), *sets, *words])


def test_the_job_itself_refuses_in_its_driver(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[Any] = []
    monkeypatch.setattr(train, "fit", lambda job, local: placed.append(job))
    for setting in ("task.nonsense=1", "optim.schedule.nonsense=3", "model.head.nonsense=2", "data.batch_size=5"):
        with pytest.raises(ContractError):
            train.run(["--config", str(files / "refer.yaml"), setting])
    assert placed == []
    train.run(["--config", str(files / "refer.yaml")])
    assert len(placed) == 1


def test_a_dry_run_needs_no_ray(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    dry_run(["--config", str(files / "refer.yaml")])
    with pytest.raises(ImportError):
        train.run(["--config", str(files / "refer.yaml")])
