"""Wrong settings: every one is refused by the command itself, before Ray or weights, with one message of our own that
names the setting and what was found and, where a name is mistyped, the right one.

What only shows when a run is put together (sets, heads, numbers that do not fit each other) is for the dry run's tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffusion_perception import settings
from jobs import build_shards, program, train
from jobs.command_line import CommandLine

RUN = "run: {name: a}\ntask: refer\nbackbone: {name: sd_unet, model: m}\ndata: {train: /x}\n"
BUILD = """name: a
source: {name: refcoco, root: /x}
splits: [val]
views: {name: exact, size: 64}
image: {name: sd_vae, model: m}
"""

TRAIN_WORDS = [  # words of a training command; parts of its message
    # settings and sections
    (["optm.lr=1"], ["unknown setting 'optm'", "Did you mean 'optim'?"]),
    (["optim.lrr=1"], ["unknown setting 'optim.lrr'", "Did you mean 'lr'?"]),
    (["optim.LR=1"], ["unknown setting 'optim.LR'", "Did you mean 'lr'?"]),
    (["lr=1"], ["unknown setting 'lr'", "Did you mean 'optim.lr'?"]),
    (["optim.lr=fast"], ["'optim.lr' is 'fast'", "expected float"]),
    (["optim.lr=nan"], ["'optim.lr' is 'nan'", "expected float"]),
    (["optim.lr="], ["'optim.lr' is empty", "expected float"]),
    (["optim.lr={a: 1}"], ["'optim.lr' is {'a': 1}", "expected float"]),
    (["optim.lr.x=1"], ["optim.lr is 5e-05, which has no settings"]),
    (["optim.betas=0.9"], ["'optim.betas' is 0.9", "For one, write [0.9]"]),
    (["optim.betas=[0.9]"], ["'optim.betas' is [0.9]", "expected [float, float]"]),
    (
        ["optim=3"],
        [
            "'optim' is '3'",
            "a section {lr, weight_decay, betas, clip_norm, gradient_noise, ema_decay, sharded, preset, schedule}",
        ],
    ),
    (["optim={lr: 1, lr: 2}"], ["'optim' is '{lr: 1, lr: 2}'", "'lr' stands twice"]),
    (["optim={lr: [1"], ["'optim' is '{lr: [1'", "not readable as YAML"]),
    (["loop.steps=1.5"], ["'loop.steps' is 1.5", "expected int"]),
    (["loop.steps=null", "loop.compile=maybe"], ["'loop.compile' is 'maybe'", "expected bool"]),
    (["loop.precision=float16"], ["'loop.precision' is 'float16'", "Did you mean 'bfloat16'?"]),
    (["data.latents=cache"], ["'data.latents' is 'cache'", "Did you mean 'cached'?"]),
    (["data.train="], ["'data.train' is empty"]),
    (["data.index_mb=.inf"], ["data.index_mb is inf", "at least 0"]),
    (["run.name="], ["'run.name' is empty"]),
    (["run.name.x=1"], ["'run.name' is {", "expected str"]),
    (["model.prompts.count=-1"], ["model.prompts: count is -1"]),
    # plug-ins and their options
    (["task.nonsense=1"], ["unknown setting 'task.nonsense'", "refer reads: class_weights"]),
    (["task.class_weight=[1, 2]"], ["unknown setting 'task.class_weight'", "Did you mean 'class_weights'?"]),
    (["task.class_weights=3"], ["'task.class_weights' is 3", "For one, write [3]"]),
    (["task.class_weights=[a, b]"], ["'task.class_weights[0]' is 'a'", "expected float"]),
    (["task.name=reffer"], ["--task refer does not go with configs/train/refer.yaml, whose task is 'reffer'"]),
    (["optim.schedule.nonsense=3"], ["unknown setting 'optim.schedule.nonsense'", "poly reads: power"]),
    (["optim.schedule=polly"], ["'optim.schedule'", "Did you mean 'poly'?", "There are: poly, rise_fall"]),
    (["optim.schedule={name: , power: 1}"], ["'optim.schedule' needs a 'name': one of poly, rise_fall"]),
    (["optim.schedule.warmup_steps=1e-1"], ["'optim.schedule.warmup_steps' is '1e-1'", "expected int"]),
    (["model.head.name=depth_stages"], ["'model.head'", "Did you mean 'depth_decoder'?"]),
    (["model.head={name: fpn, chanels: 3}"], ["'model.head.chanels'", "Did you mean 'channels'?"]),
    (["backbone=sd_unit"], ["'backbone'", "Did you mean 'sd_unet'?"]),
    (["backbone.timestp=1"], ["unknown setting 'backbone.timestp'", "Did you mean 'timestep'?"]),
    (["backbone.timestep=one"], ["'backbone.timestep' is 'one'", "expected int"]),
    (["backbone.model="], ["'backbone.model' is empty"]),
    (["backbone="], ["'backbone' is empty", "expected a plug-in"]),
    (["encoders.image={name: sd_vae, device: cpu}"], ["'encoders.image.device' is decided by whoever builds sd_vae"]),
    (["encoders.text={name: clip_txt}"], ["'encoders.text'", "Did you mean 'clip_text'?"]),
    (["data.source={name: refcoco, rot: /x}"], ["'data.source.rot'", "Did you mean 'root'?"]),
    (["predict_views.strid=3"], ["'predict_views' needs a 'name'"]),
    (["predict_views={name: exact, sizes: 3}"], ["'predict_views.sizes'", "Did you mean 'size'?"]),
    # the command line itself
    (["--dry-rum"], ["'--dry-rum' needs a value", "Did you mean 'dry-run'?"]),
    (["--optim.lr"], ["'--optim.lr' needs a value"]),
    (["optim.lr"], ["cannot read the word 'optim.lr'"]),
    (["optim..lr=3"], ["'optim..lr=3' names no setting"]),
    (["=3"], ["'=3' names no setting"]),
]

COMMAND_LINES = [  # whole command lines of both commands
    ("train", [], ["say what to train"]),
    ("train", ["--task", "deph"], ["configs/train/deph.yaml", "Did you mean 'depth'?"]),
    ("train", ["--task", "depth", "--method", "meta_promts"], ["depth_meta_promts", "'depth_meta_prompts'?"]),
    ("train", ["--task", "depth", "task.min_depth_m=near"], ["'task.min_depth_m' is 'near'", "expected float"]),
    ("train", ["--task", "depth", "--config", "configs/train/refer.yaml"], ["--task depth does not go with"]),
    ("train", ["--config", "/absent/x.yaml"], ["no configuration file /absent/x.yaml"]),
    ("train", ["--config", "configs/build/refcoco.yaml"], ["'name'", "configuration of another command?"]),
    ("build_shards", ["--config", "configs/train/refer.yaml"], ["'run'", "configuration of another command?"]),
    ("build_shards", ["--task", "refer"], ["unknown setting 'task'"]),
]

BUILD_WORDS = [
    (["sorce.root=/x"], ["unknown setting 'sorce'", "Did you mean 'source'?"]),
    (["source.rot=/x"], ["'source.rot'", "Did you mean 'root'?", "refcoco reads: root, dataset"]),
    (["source=refcoc"], ["'source'", "Did you mean 'refcoco'?"]),
    (["source={root: /x}"], ["'source' needs a 'name': one of ade20k"]),
    (["source.root="], ["'source.root' is empty"]),
    (["splits=val"], ["'splits' is 'val'", "For one, write [val]"]),
    (["splits="], ["'splits' is empty"]),
    (["splits=null"], ["'splits' is missing"]),
    (["views=[exact]"], ["'views' is ['exact']", "expected a plug-in"]),
    (["views.sise=3"], ["'views.sise'", "Did you mean 'size'?"]),
    (["views.size=big"], ["'views.size' is 'big'", "expected int"]),
    (["views_of=[a]"], ["'views_of' is ['a']", "expected mapping"]),
    (["views_of={val: }"], ["'views_of.val' is empty"]),
    (["views_of={val: {name: depth_tiles, strides: 3}}"], ["'views_of.val.strides'", "Did you mean 'stride'?"]),
    (["image.dtype=float17"], ["'image.dtype' is 'float17'", "Did you mean 'float16'?"]),
    (["image.tf32=3"], ["'image.tf32' is 3", "expected bool"]),
    (["image.device=cpu"], ["'image.device' is decided by whoever builds sd_vae"]),
    (["text={name: clip_text, lenght: 3}"], ["'text.lenght'", "Did you mean 'length'?"]),
    (["prompts=true"], ["'prompts' is 'true'", "a section {templates, mode}"]),
    (["prompts.mode=token"], ["'prompts.mode' is 'token'", "Did you mean 'tokens'?"]),
    (["settings.text=state"], ["'settings.text' is 'state'", "Did you mean 'states'?"]),
    (["settings.records_per_shard=0"], ["settings.records_per_shard is 0", "at least 1"]),
    (["settings.max_rejects=2"], ["settings.max_rejects is 2", "a fraction from 0 to 1"]),
    (["records_per_shard=3"], ["Did you mean 'settings.records_per_shard'?"]),
    (["resources.actors=two"], ["'resources.actors' is 'two'", "expected int"]),
    (["out=https://host/x"], ["https://host/x", "can be read and not written"]),
]

FILES = [  # text of a training configuration; parts of the message. FILE is its path.
    ("", ["'run' is missing", "expected a section {name, out"]),
    ("- a\n", ["FILE", "expected settings as 'key: value', found list"]),
    ("run: {name: a\n", ["FILE", "not readable as YAML", "line 1"]),
    (b"run: \xff\n", ["FILE", "not readable as UTF-8"]),
    ("run: !!python/object:os.system {}\n", ["FILE", "not readable as YAML", "os.system"]),
    ("? [a, b]\n: 1\n", ["FILE", "a key is a word"]),
    (RUN + "run: {name: b}\n", ["FILE", "'run' stands twice, again in line 5"]),
    (RUN + "optim.lr: 3\n", ["unknown setting 'optim.lr'", "In a file, write optim: {lr: ...}"]),
    (RUN + "base: refer\n", ["'base' is 'refer'", "expected a file"]),
    (RUN + "base: absent.yaml\n", ["no configuration file absent.yaml, the base of FILE"]),
    (RUN + "base: wrong.yaml\n", ["FILE -> FILE", "leads in a circle"]),
    (RUN + "loop: {seed: 2024-01-02}\n", ["'loop.seed' is datetime.date(2024, 1, 2)", "expected int"]),
    (RUN.replace("{name: a}", "{name: 2024_01}"), ["'run.name' is 202401", "Quote it"]),
    (RUN.replace("{name: a}", "{name: null}"), ["'run.name' is missing"]),
    (RUN.replace("{name: a}", "a"), ["'run' is 'a'", "expected a section {name, out"]),
    (RUN.replace("task: refer", "task: {nam: refer}"), ["'task' needs a 'name'", "Did you mean it by 'nam'?"]),
    (RUN.replace("task: refer", "task: [refer]"), ["'task' is ['refer']", "expected a plug-in"]),
    (RUN.replace("task: refer", "task: reffer"), ["'task'", "vpd.tasks.reffer", "Did you mean 'refer'?"]),
    (RUN.replace("task: refer", "task: os.path"), ["'task': no module os.path with a build"]),
    (RUN.replace("task: refer", "task: vpd.heads"), ["'task': ", "vpd.heads has no function build"]),
]


def refused(capsys: pytest.CaptureFixture[str], module: str, words: list[str], parts: list[str]) -> None:
    """The command ends with status 1 and one message of our own on stderr, which has all these parts."""
    assert program.status(f"jobs.{module}", ["--dry-run", *words]) == program.REFUSED
    said = capsys.readouterr()
    assert said.err.startswith("\nConfigError: ")
    assert said.err.count("Error: ") == 1
    assert "plan" not in said.out
    assert not [part for part in parts if part not in said.err], said.err


def named(cases: list[tuple[list[str], list[str]]]) -> list[str]:
    return [" ".join(words) for words, _ in cases]


@pytest.mark.parametrize(("words", "parts"), TRAIN_WORDS, ids=named(TRAIN_WORDS))
def test_a_wrong_word_of_a_training_command(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, "train", ["--task", "refer", *words], parts)


@pytest.mark.parametrize(("words", "parts"), BUILD_WORDS, ids=named(BUILD_WORDS))
def test_a_wrong_word_of_a_build(
    words: list[str], parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "right.yaml").write_text(BUILD)
    refused(capsys, "build_shards", ["--config", str(tmp_path / "right.yaml"), *words], parts)


@pytest.mark.parametrize(("module", "words", "parts"), COMMAND_LINES)
def test_a_wrong_command_line(
    module: str, words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, module, words, parts)


@pytest.mark.parametrize(("text", "parts"), FILES, ids=[str(text)[-40:] for text, _ in FILES])
def test_a_wrong_file(text: str | bytes, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(capsys, "train", ["--config", str(file)], [part.replace("FILE", str(file)) for part in parts])


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        (train, RUN, []),
        (train, RUN, ["data.val="]),  # empty means none
        (train, RUN, ["optim.lr=1e-3", "optim.schedule.power=5e-1", "loop.steps=1e3"]),
        (train, RUN.replace("refer", "depth"), ["task.min_depth_m=1e-3"]),
        (build_shards, BUILD, []),
    ],
)
def test_what_is_wrong_only_there_binds_otherwise(module: Any, text: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(text)
    line = CommandLine.parse(["--config", str(tmp_path / "right.yaml"), *words])
    assert isinstance(settings.bind(module.JOB, module.draft(line)), module.JOB)
