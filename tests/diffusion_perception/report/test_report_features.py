"""Features of a run's fixed pictures: levels and words where there are any, words of people where there are none."""

from __future__ import annotations

import io
import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception.report.features import features_of, tokens_of
from diffusion_perception.report.predictions import ExampleOptions
from diffusion_perception.report.runs import read_run
from jobs import report
from tests.byte_tokenizer import byte_tokenizer
from tests.jobs.toy_jobs import train_here
from tests.toy_runs import CLASSES, run_settings, write_set

OPTIONS = ExampleOptions(0, features=True)


def width_of(tiny_sd: Path) -> int:
    return json.loads((tiny_sd / "unet" / "config.json").read_text())["cross_attention_dim"]


def trained(tiny_sd: Path, out: Path, task: str, **sections: dict[str, Any]) -> str:
    """A run of one step on six records."""
    write_set(out / "set", task, width=width_of(tiny_sd))
    settings = run_settings(task, out / "set", tiny_sd, out)
    settings |= {"loop": {"steps": 1}, "run": {"name": "run", "out": str(out)}, "optim": {}}
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    train_here(settings)
    return str(out / "run")


def test_words_have_the_tokens_that_they_are_made_of(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(tmp_path, 600)

    def tokenize(sentences: list[str], length: int = 20) -> np.ndarray:
        cut: dict[str, Any] = {"padding": "max_length", "truncation": True, "max_length": length}
        return tokenizer(sentences, return_tensors="np", **cut)["input_ids"]

    found = tokens_of(tokenize, "a red, cup -  on")
    assert [word for word, _ in found] == ["a", "red", "cup", "on"]
    row = tokenizer("a red, cup -  on")["input_ids"]
    assert [tokenizer.decode([row[place] for place in places]).replace(" ", "") for _, places in found] == [
        *("a", "red,", "cup", "on")
    ]
    assert [word for word, _ in tokens_of(partial(tokenize, length=10), "a red elephant walks")] == ["a", "red"], (
        "the others are cut"
    )
    assert tokens_of(tokenize, "") == []


def test_where_every_class_is_a_token_the_most_looked_at_are_shown(tiny_sd: Path, tmp_path: Path) -> None:
    run = read_run(trained(tiny_sd, tmp_path, "seg", loop={"steps": 1, "pictures": 2}))
    found = features_of(run, OPTIONS, print)
    assert len(found.records) == 2
    assert found.notes[-1].startswith("Attention of the classes that it goes to most")
    shown = found.records[0].shown
    assert [what[:2] for what, _ in shown[1:]] == ["f1", "f2", "f3", "f4"] + ["x"] * CLASSES
    sizes = {Image.open(io.BytesIO(encoded)).size for _, encoded in shown}
    assert len(sizes) == 1
    again = features_of(run, OPTIONS, print)
    assert again == found, "the same bytes"


@pytest.mark.parametrize(
    ("task", "sections", "said"),
    [
        ("depth", {}, "its context has a single word"),
        ("seg", {"backbone": {"attention_maps": ""}}, "its levels carry no attention maps"),
    ],
)
def test_without_words_there_are_levels_alone(
    tiny_sd: Path, tmp_path: Path, task: str, sections: dict[str, Any], said: str
) -> None:
    found = features_of(read_run(trained(tiny_sd, tmp_path, task, **sections)), OPTIONS, print)
    assert said in found.notes[-1]
    assert [what[:2] for what, _ in found.records[0].shown[1:]] == ["f1", "f2", "f3", "f4"]


def test_what_cannot_be_shown_is_said_and_the_page_is_made(tiny_sd: Path, tmp_path: Path) -> None:
    run = trained(tiny_sd, tmp_path, "refer", encoders={"text": {"name": "clip_text", "model": str(tmp_path / "no")}})
    found = features_of(read_run(run), OPTIONS, print)
    assert "No attention is shown: the text encoder, whose words it is over, is not at hand" in found.notes[-1]
    assert len(found.records[0].shown) == 5
    shutil.rmtree(tmp_path / "set")
    report.run([run, f"html={tmp_path}/r.html", "examples=0", "features=true"])
    text = (tmp_path / "r.html").read_text()
    assert re.search(r"<h2>Features of run</h2>\s*<p>They cannot be shown: .*set", text)
    assert torch.is_grad_enabled()
