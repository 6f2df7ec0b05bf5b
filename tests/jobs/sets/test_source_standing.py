"""`set verify --against-source`: a set and the configuration of its build, without its encoder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from diffusion_perception import compare_with_source
from tests.pipeline.building.test_incremental import World

Ended = Callable[..., int]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four pictures, their set, and the configuration of a build that could have made it."""
    made = World(tmp_path / "data", tmp_path / "out")
    made.out.mkdir()
    for number in range(4):
        made.add(number)
    made.build().run()
    job = {
        "name": "toys",
        "source": {"name": "image_folders", "root": str(made.root), "classes": ["sound", "crack"], "splits": ["train"]},
        "splits": ["train"],
        "views": {"name": "exact", "size": 8},
        "image": {"name": "sd_vae", "model": "nowhere/at-all"},
    }
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(job))
    return made


def test_what_changed_ends_with_1_and_a_line_each(
    world: World, ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    place, build = str(world.out / "set" / "toys"), str(world.out.parent / "build.yaml")
    assert ended("verify", place, "--against-source", build, "sample=9") == 0
    said = capsys.readouterr().out
    assert f"{place}: sound (" in said
    assert f"{place} against its source: 4 records as their files are; 0 changed, 0 missing, 0 new; 4 of 4" in said
    world.label("p0001", 0)
    assert ended("verify", place, f"against-source={build}", "--quick") == 1
    said = capsys.readouterr()
    assert "CHANGED p0001: label/p0001.png changed" in said.out
    assert f"{place}: not what the source is now" in said.err
    assert f"build --config {build}" in said.err


def test_the_source_may_lie_elsewhere_by_now(world: World, ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(world.root, world.out / "moved")
    words = ("verify", str(world.out / "set" / "toys"), "--against-source", str(world.out.parent / "build.yaml"))
    assert ended(*words) == 1
    assert str(world.root) in capsys.readouterr().err
    assert ended(*words, f"source.root={world.out / 'moved'}") == 0


def test_options_lie_over_a_source_however_it_is_written(
    world: World, ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    build, place = world.out.parent / "build.yaml", str(world.out / "set" / "toys")
    own = yaml.safe_load(build.read_text())
    (world.out.parent / "other.yaml").write_text(yaml.safe_dump({"source": {"name": "nyuv2", "root": "elsewhere"}}))
    build.write_text(yaml.safe_dump({**own, "base": "other.yaml"}))  # whose source has another name
    assert ended("verify", place, "--against-source", str(build), f"source.root={world.root}") == 0
    build.write_text(yaml.safe_dump({**own, "source": "image_folders"}))
    options = [f"source.root={world.root}", "source.classes=[sound, crack]", "source.splits=[train]"]
    assert ended("verify", place, "--against-source", str(build), *options) == 0
    capsys.readouterr()
    build.write_text(yaml.safe_dump({**own, "source": None}))
    assert ended("verify", place, "--against-source", str(build), *options) == 1
    assert "source" in capsys.readouterr().err


def test_other_choices_are_not_said_to_be_brought_up_to_date(
    world: World, ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    build = world.out.parent / "build.yaml"
    build.write_text(build.read_text().replace("size: 8", "size: 16"))
    assert ended("verify", str(world.out / "set" / "toys"), "--against-source", str(build)) == 1
    said = capsys.readouterr()
    assert "CHOICE" in said.out
    assert "up to date" not in said.err


def test_the_same_is_a_function(world: World) -> None:
    found = compare_with_source(world.out / "set" / "toys", world.out.parent / "build.yaml", sample=2, seed=1)
    assert (found.is_current, len(found.drawn)) == (True, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sample=3",), "source, sample: of which build?"),
        (("source.root=/data",), "source, sample: of which build?"),
        (("--against-source", "x.yaml", "sample=-1"), "sample is -1"),
        (("--against-source", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_words_that_cannot_be_are_one_message(
    words: tuple[str, ...], said: str, world: World, ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("verify", str(world.out / "set" / "toys"), *words) == 1
    assert said in capsys.readouterr().err
