"""The configurations that `init` writes, as text: every guess stands beside the setting that it decided.

Owns the form of the files and what follows from a task: views, prompts, batch. The recipes are those of
configs/build/own_*.yaml and configs/train/own_*.yaml, which the files for training name as their base.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from diffusion_perception.places import CHECKOUT
from pipeline.layouts.guess import Guess

WIDTH = 120
_BATCH = 8  # of configs/train/own_*.yaml
_SIDE_PX = {"depth": (400, 640)}  # short sides that crops of 480 suit
_TOKENS_A_WORD = 1.4  # of CLIP, on average, and two that begin and end a sentence

_VIEWS = {
    "seg": (
        "views: {name: segmentation, mode: k, k: 8, seed: 0} # crops of 512 at random scales, flipped and recoloured",
        "{name: segmentation_tiles} # one scale: short side 512, windows of 512 at stride 341",
    ),
    "depth": (
        "views: {name: depth, mode: k, k: 8, recipe: vpd, cut_depth: none, seed: 0} # crops of 480 x 480 pixels",
        "{name: depth_tiles, short_side: 480, stride: 320} # overlapping windows of 480, and flipped",
    ),
    "refer": ("views: {name: exact, size: 512} # the whole picture, squashed", ""),
    "pictures": ("views: {name: exact, size: 512} # the whole picture, squashed", ""),
}
_TAIL = """\
settings:
  records_per_shard: 256
  decode_ahead: 16{extra}
  max_rejects: 0.01 # share of pictures that may be unusable; rejects.jsonl of the set says why
resources:
  actors: 0 # one per GPU
  gpus_per_actor: -1"""


_TEXT_MODES = {
    "refer": "\n  text: states",
    "pictures": "\n  text: tokens # ids alone, and the trainer encodes them; states are four times the latents",
}


def build_text(task: str, guess: Guess, name: str, sets: str, folder: Path) -> str:
    """The configuration of the build.

    Args:
        folder: that it is written in.
    """
    others = [split for split in guess.splits.names if split != guess.splits.train]
    view, tiles = _VIEWS[task]
    lines = [
        *_schema("build", folder),
        f"# Written by `diffusion-perception init {task}`: what was seen, or only guessed, stands beside each setting.",
        "#",
        f"#   diffusion-perception check {name}.build.yaml         every picture and label, as a page",
        f"#   diffusion-perception build --config {name}.build.yaml --local",
        *(line for note in guess.notes for line in _comment(f"Note: {note}")),
        f"name: {plain(name)}",
        "source:",
        f"  name: {guess.source}",
        *_setting("root", str(guess.root), "what the others are relative to"),
        *(line for key, option in guess.options.items() for line in _setting(key, option.value, option.why)),
        f"splits: {plain(list(guess.splits.names))} # {guess.splits.why.partition(': ')[0]}; a set each",
        *_size_note(task, guess),
        view,
    ]
    if tiles and others:
        lines += ["views_of:", *(f"  {plain(split)}: {tiles}" for split in others)]
    lines.append("image: {base: configs/base/sd_15_vae.yaml} # another model: image.model and text.model")
    if task == "refer":
        lines.append(
            f"text: {{base: configs/base/sd_15_text.yaml, length: {_length(guess.words)}}} # {_why(guess.words)}"
        )
    elif task == "pictures":
        captioned = guess.options["captions"].value
        text = "text: {base: configs/base/sd_15_text.yaml, length: 77} # tokens of a caption, as many as CLIP reads"
        lines.append(text if captioned else "text: null # without captions there is nothing to encode")
    else:
        lines.append("text: {base: configs/base/sd_15_text.yaml, length: 20} # for the class prompts")
        lines.append("prompts: {templates: photo, mode: pooled} # a photo of each class: call classes what they are")
    lines.append(f"out: {plain(sets)} # the sets are <out>/{name}-<split>")
    lines.append(_TAIL.format(extra=_TEXT_MODES.get(task, "")))
    return "\n".join(lines) + "\n"


def train_text(task: str, guess: Guess, name: str, sets: str, folder: Path) -> str:
    """The configuration of the training."""
    splits, batch = guess.splits, max(min(_BATCH, guess.pictures), 1)
    few = f" # no more than the {guess.pictures} pictures of {splits.train}" if batch < _BATCH else ""
    lines = [
        *_schema("train", folder),
        f"# Written by `diffusion-perception init {task}`. The recipe is that of its base.",
        "#",
        f"#   diffusion-perception train --config {name}.train.yaml run.workers=0    (in one process, no cluster)",
        f"base: configs/train/own_{task}.yaml",
        f"run: {{name: {plain(name)}}}",
    ]
    if task == "seg":
        lines.append(f"task: {{classes: {guess.classes}}} # as many as the build's")
    if task == "depth":
        lines.append(f"task: {{max_depth_m: {guess.max_depth_m:g}}} # as in the build")
    val = f"{sets}/{name}-{splits.val}" if splits.val else ""
    lines += [
        "data:",
        f"  train: {plain(f'{sets}/{name}-{splits.train}')}",
        f"  val: {plain(val)} # {splits.why}",
        f"  batch_size: {batch}{few}",
    ]
    if pictures := _pictures(guess):
        lines.append(f"loop: {{pictures_from: {plain(pictures)}}} # some are drawn with their predictions as it learns")
    return "\n".join(lines) + "\n"


def _pictures(guess: Guess) -> str:
    """The folder of the validation pictures, where a source has one for a split; empty elsewhere."""
    images = guess.options.get("images")
    if images is None or not isinstance(images.value, str) or not guess.splits.val:
        return ""
    folder = guess.root / images.value.replace("{split}", guess.splits.val)
    return str(folder) if folder.is_dir() else ""


def plain(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1 << 30, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _setting(key: str, value: Any, why: str) -> Iterator[str]:
    """One option with its reason: behind it where both fit on a line, else above it."""
    line = f"  {key}: {plain(value)}"
    if len(line) + len(why) + 3 <= WIDTH:
        yield f"{line} # {why}"
        return
    yield from (f"  {part}" for part in _comment(why, WIDTH - 2))
    yield line


def _comment(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def _schema(kind: str, folder: Path) -> list[str]:
    """The line by which an editor finds the schema, in a checkout."""
    if CHECKOUT is None:
        return []
    schema = CHECKOUT / "docs" / "schemas" / f"{kind}.schema.json"
    return [f"# yaml-language-server: $schema={Path(os.path.relpath(schema, folder.absolute())).as_posix()}"]


def _size_note(task: str, guess: Guess) -> list[str]:
    limits, side = _SIDE_PX.get(task), min(guess.size_px)
    if limits is None or not side or limits[0] <= side <= limits[1]:
        return []
    h, w = guess.size_px
    return _comment(
        f"Pictures are about {h} x {w}: a crop of 480 x 480 shows {'little of them' if side > 480 else 'padding too'}. "
        "recipe: mmseg_512 resizes pictures first (docs/methods/depth.md)."
    )


def _length(words: int) -> int:
    """Tokens that hold the longest sentence, most likely; CLIP reads 77."""
    return min(max(round(words * _TOKENS_A_WORD) + 2, 40), 77)


def _why(words: int) -> str:
    return f"tokens; the longest sentence has {words} words. The build says how many are cut; up to 77 fit"
