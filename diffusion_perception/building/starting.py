"""What `init` does: look at somebody's folder, and write the configurations that build and train from it.

Owns the settings, what a person knows better than the files (`source.OPTION=VALUE` lies over what was found), and that
nothing is written before the guessed source has listed its pictures and looked at its labels itself. What was found is
`pipeline.layouts`', how it is written down `diffusion_perception.building.drafts`'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diffusion_perception import plugins
from diffusion_perception.building import drafts
from diffusion_perception.building.forecast import notices_of
from pipeline.layouts import depth, pictures, refer, seg
from pipeline.layouts.folders import chosen
from pipeline.layouts.guess import Guess, Option
from pipeline.layouts.values import renamed
from shards.errors import ConfigError, SourceError

_WAYS = ("splits", "lists", "shares")  # one of them says which picture is of which split


@dataclass(frozen=True)
class InitJob:
    """Settings of a start."""

    task: Literal["seg", "depth", "refer", "pictures"]  # what is to be learned; pictures: a set, and no training
    images: str  # folder of the pictures; of pictures without labels also of tars
    labels: str = ""  # folder of the labels or the depth; a COCO file; a file of sentences; none of pictures alone
    name: str = ""  # of the sets and the run; empty: that of the folder
    out: str = "."  # folder in which NAME.build.yaml and NAME.train.yaml are written; never over a file that is there
    sets: str = "data/shards"  # where the build is to write its sets
    source: Mapping[str, Any] = field(default_factory=dict)  # options that you know: units_per_metre, classes, values


@dataclass(frozen=True)
class Start:
    """What was found, and the texts of the files by their paths: that of the build, and of the training if any."""

    guess: Guess
    found: tuple[str, ...]
    files: Mapping[Path, str]

    def lines(self) -> Iterator[str]:
        """For a person: every guess, then what the source itself says of the folder."""
        guess = self.guess
        yield f"{guess.source} reads {guess.root}"
        yield from (f"{name}: {drafts.plain(option.value)}  ({option.why})" for name, option in guess.options.items())
        yield f"splits: {guess.splits.why}"
        yield from (f"note: {note}" for note in guess.notes)
        yield from self.found


def start(job: InitJob) -> Start:
    """Look at the folder, and write down what was found; nothing is written to disk.

    Raises:
        ContractError: what was found cannot be read, or cannot be told without being said; the message holds the words
            to type. A file of the pair is there already.
    """
    guess = _guessed(job)
    name = job.name or _name_of(guess.root, job.task)
    folder = Path(os.path.expanduser(job.out))
    if not folder.is_dir():
        raise ConfigError(f"out={job.out}: is no folder. Make it, or name another one.")
    kinds = ("build",) if job.task == "pictures" else ("build", "train")
    paths = {kind: folder / f"{name}.{kind}.yaml" for kind in kinds}
    if there := next((path for path in paths.values() if path.exists()), None):
        raise ConfigError(f"{there} is there already, and is not overwritten. Move it, or set name= or out=.")
    found, classes = _confirmed(guess)
    guess = replace(guess, classes=classes or guess.classes)
    texts = {"build": drafts.build_text, "train": drafts.train_text}
    files = {path: texts[kind](job.task, guess, name, job.sets, folder) for kind, path in paths.items()}
    return Start(guess, tuple(found), files)


def write(begun: Start) -> None:
    """The files of a start. ConfigError: one cannot be written, or came into being meanwhile."""
    for path, text in begun.files.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error}") from error


def _guessed(job: InitJob) -> Guess:
    given = dict(job.source)
    if fixed := [name for name in ("name", "root") if name in given]:
        raise ConfigError(f"source.{fixed[0]} follows from images and labels; leave it out, and change it in the file.")
    if bool(job.labels) is (job.task == "pictures"):
        raise ConfigError(
            f"init {job.task}: say --images FOLDER and --labels FOLDER; `init pictures` is of pictures alone, and "
            "takes no labels."
        )
    if job.task == "pictures":
        guess = pictures.look(job.images)
    elif job.task == "seg":
        guess = seg.look(job.images, job.labels)
    else:
        guess = (depth if job.task == "depth" else refer).look(job.images, job.labels, given)
    options = dict(guess.options)
    names = given.get("classes")
    if isinstance(names, list | tuple):
        options = renamed(options, names)
    splits = guess.splits
    if way := next((way for way in _WAYS if way in given), ""):
        named = given[way]
        if guess.source == "refer_file" and way == "shares":  # a number for each of the splits, which have other names
            named = options["splits"].value
        else:
            options = {name: option for name, option in options.items() if name not in _WAYS}
        splits = chosen(list(named), "as said")
    options |= {name: Option(value, "as said") for name, value in given.items()}
    return replace(guess, options=options, splits=splits)


def _confirmed(guess: Guess) -> tuple[list[str], int]:
    """What the source says of every split, and how many classes it has.

    Raises:
        ContractError: the source refuses what was guessed.
    """
    values = {name: option.value for name, option in guess.options.items()}
    spec = {"name": guess.source, "root": str(guess.root), **values}
    source = plugins.build_plugin(plugins.SOURCES, spec, "source")
    found = []
    for split in guess.splits.names:
        if not source.keys(split):
            raise SourceError(f"split {split}: has no picture; say source.shares or source.lists")
        found += [f"found: {line}" for line in notices_of(source, split)]
    return found, len(getattr(source, "class_names", ()))


def _name_of(root: Path, task: str) -> str:
    """The folder's name as that of a set, in letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", root.name).strip("-").lower() or f"own-{task}"
