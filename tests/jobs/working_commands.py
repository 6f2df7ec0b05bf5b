"""A folder in which every command works: data of one's own, a tiny model, sets, runs; and the commands that use them.

Paths are relative to the folder, so that a test breaks a file under it. What a command writes goes into `out/`.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from build_without_ray import run as build
from toy_folders import masks, metres, sentences

from diffusion_perception import settings
from jobs import convert_checkpoint, init, program, train

VIEWS = {
    "seg": {"name": "segmentation", "mode": "k", "k": 2, "crop": 64, "base": [256, 64]},
    "depth": {"name": "depth", "mode": "k", "k": 2, "recipe": "vpd", "crop": 60, "size": 64, "cut_depth": "none"},
    "refer": {"name": "exact", "size": 64},
}
TILES = {
    "seg": {"name": "segmentation_tiles", "crop": 64, "stride": 43, "base": [256, 64]},
    "depth": {"name": "depth_tiles", "size": 64, "short_side": 60, "stride": 40},
    "refer": VIEWS["refer"],
}
HEADS = {"seg": {"channels": 16}, "depth": {"width": 16, "hidden": 8}, "refer": {}}
PICTURE = {"seg": "imgs/00_img.jpg", "depth": "0.png", "refer": "photos/0.png"}
EXPORT = {"seg": ".png", "depth": ".npy", "refer": ".png"}
LAYOUTS: dict[str, Callable[[Path], list[str]]] = {"seg": masks, "depth": metres, "refer": sentences}
LONGEST_S = 20


@dataclass(frozen=True)
class Command:
    """A command that works, what it reads, and what it found out."""

    module: str
    words: tuple[str, ...]
    reads: tuple[str, ...]  # files and folders that can be broken
    schema: str = ""  # of its settings
    result: Callable[[], Any] = lambda: None  # to compare: the same again unless what it reads changed


def write_world(root: Path, tiny_sd: Path) -> None:
    """Everything the commands read, made by the commands; the working directory is `root`."""
    shutil.copytree(tiny_sd, root / "model")
    (root / "configs").symlink_to(Path(program.__file__).parents[1] / "configs")  # what `init` names as bases
    (root / "names.txt").write_text("# rooms\nwall\nfloor\n")
    for task, layout in LAYOUTS.items():
        init.run([task, *layout(Path("data", task)), f"name={task}", "out=.", "sets=sets"])
        _write_small(task)
        build([f"config={task}.build.yaml"])
        train.run([f"config={task}.train.yaml"])
    convert_checkpoint.run(["in=runs/depth", "out=saved"])


def _write_small(task: str) -> None:
    """What `init` wrote, for the tiny model and a step."""
    path = Path(f"{task}.build.yaml")
    said = settings.read_file(path)
    encoder = {"model": "model"}
    said |= {"image": {"name": "sd_vae", **encoder}, "text": {"name": "clip_text", **encoder, "length": 12}}
    said |= {"views": VIEWS[task], "views_of": {"val": TILES[task]}}
    path.write_text(json.dumps(said))  # which is YAML, too
    path = Path(f"{task}.train.yaml")
    said = settings.read_file(path)
    said |= {"backbone": {"name": "sd_unet", **encoder}, "model": {"head": HEADS[task]}}
    said |= {"run": {"name": task, "out": "runs", "workers": 0}, "predict_views": TILES[task]}
    said |= {"optim": {"schedule": {"name": "poly", "power": 0.9}}}
    said |= {"loop": {"steps": 1, "log_every_steps": 1, "eval_every_steps": 1}}
    said["data"] |= {"batch_size": 2, "eval_batch_size": 4, "threads": 0}
    path.write_text(json.dumps(said))


def commands() -> dict[str, Command]:
    """Every command that works in the folder, by a name."""
    found = {}
    for task in LAYOUTS:
        images, labels = {"seg": ("imgs", "gts"), "depth": ("", ""), "refer": ("photos", "all.json")}[task]
        words = (task, f"images=data/{task}/{images}", f"labels=data/{task}/{labels}", "name=own", "out=out")
        words += ("source.classes=[ground, square]",) if task == "seg" else ()
        found[f"init {task}"] = Command("jobs.init", words, (f"data/{task}",), "init")
        config, data = f"config={task}.build.yaml", f"data/{task}"
        reads = (data, f"{task}.build.yaml")
        found[f"check {task}"] = Command("jobs.check", (config, "page=out/page.html"), reads, "build")
        encoders = ("model/vae", "model/text_encoder", "model/tokenizer")
        found[f"build {task}"] = Command("build_without_ray", (config, "out=out"), (*reads, *encoders), "build")
        sets, run = (f"sets/{task}-train", f"sets/{task}-val"), f"runs/{task}"
        config = f"config={task}.train.yaml"
        reads = (*sets, "model/unet", f"{task}.train.yaml")
        found[f"train {task}"] = Command("jobs.train", (config, "run.out=out"), reads, "train", losses)
        # Goes on with a copy of the run, which is made by `run`
        words = (config, "run.out=out", "loop.steps=2", "--allow-changed")
        found[f"resume {task}"] = Command("jobs.train", words, (f"out/{task}", *sets), "train", losses)
        words = (f"run={run}", f"sets=[sets/{task}-val]", "workers=0", "out=out/scores.json")
        found[f"evaluate {task}"] = Command("jobs.evaluate", words, (run, sets[1]), "evaluate", scores)
        words = (f"run={run}", "out=out/drawn.png", f"export=out/answer{EXPORT[task]}")
        words += ("sentence=the square",) if task == "refer" else ()
        one = (*words, f"image=data/{task}/{PICTURE[task]}")
        reads = (run, f"data/{task}/{PICTURE[task]}", *encoders)
        found[f"predict {task}"] = Command("jobs.predict", one, reads, "predict", answer)
        many = (*words[:1], *words[3:], f"images=data/{task}/{images}", "into=out/many")
        found[f"predict many {task}"] = Command("jobs.predict", many, (data, run), "predict")
        found[f"convert {task}"] = Command("jobs.convert_checkpoint", (f"in={run}", "out=out/saved"), (run,), "convert")
    one = ("run=saved", "out=out/drawn.png", "export=out/answer.npy", f"image=data/depth/{PICTURE['depth']}")
    found["predict saved"] = Command("jobs.predict", one, ("saved",), "predict", answer)
    words = ("in=saved", "out=out/unet", "to=diffusers", "base=model")
    found["convert saved"] = Command("jobs.convert_checkpoint", words, ("saved", "model/unet"), "convert")
    words = ("text.model=model", "file=names.txt", "prompts.templates=photo", "out=out/table")
    reads = ("names.txt", "model/text_encoder", "model/tokenizer")
    found["prompts"] = Command("jobs.build_prompts", words, reads, "prompts")
    return found


def losses() -> Any:
    log = next(Path("out").glob("*/log.jsonl"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def scores() -> Any:
    return json.loads(Path("out/scores.json").read_text())["sets"]


def answer() -> Any:
    (path,) = Path("out").glob("answer.*")
    return np.load(path).tolist() if path.suffix == ".npy" else path.read_bytes()


@contextlib.contextmanager
def fresh(name: str) -> Iterator[None]:
    """An `out/` as the command finds it."""
    shutil.rmtree("out", ignore_errors=True)
    Path("out").mkdir()
    if name.startswith("resume "):
        task = name.removeprefix("resume ")
        shutil.copytree(f"runs/{task}", f"out/{task}")
    yield


def outcome(command: Command, words: tuple[str, ...] = (), longest_s: int = LONGEST_S) -> tuple[int, str]:
    """Status and what was said. What takes longer than `longest_s` is interrupted, as a person would."""
    said, wrong = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(longest_s)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            status = program.status(command.module, [*command.words, *words])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return status, wrong.getvalue()
