"""Settings: strict, with suggestions, from every form of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from diffusion_perception.settings import bind, read_file, replaced, spelled_out, to_plain
from jobs.command_line import CommandLine
from jobs.train import is_lost_worker
from shards.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Outer:
    name: str
    optim: Inner = field(default_factory=Inner)
    mode: Literal["cached", "online"] = "cached"
    sets: tuple[str, ...] = ()
    plugin: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 0
    fast: bool = False


def parse(*words: str) -> CommandLine:
    return CommandLine.parse(words, flags=("dry-run",))


def test_three_spellings_of_a_setting_are_one() -> None:
    for words in (["--optim.lr", "1e-4"], ["--optim.lr=1e-4"], ["optim.lr=1e-4"]):
        assert parse(*words).overrides == (("optim.lr", "1e-4"),)


def test_flags_and_config_are_told_apart_from_settings() -> None:
    command = parse("--dry-run", "--config", "a.yaml", "task=refer")
    assert command.flags == {"dry-run"}
    assert command.config == "a.yaml"
    assert command.take("task") == ("refer", CommandLine("a.yaml", frozenset({"dry-run"}), ()))


@pytest.mark.parametrize("words", [["refer"], ["--steps"], ["--steps", "--dry-run"], ["-x"]])
def test_unreadable_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="command line"):
        parse(*words)


def test_a_mistyped_flag_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'dry-run'"):
        parse("--dryrun")


def test_a_whole_configuration_is_built_with_overrides_on_top(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\noptim: {lr: 1e-4, betas: [0.8, 0.9]}\nplugin: sd_unet\n")
    built = bind(Outer, read_file(file, [("optim.lr", "5e-5"), ("sets", "[a, b]"), ("fast", "true")]))
    assert built == Outer("a", Inner(5e-5, (0.8, 0.9)), sets=("a", "b"), plugin={"name": "sd_unet"}, fast=True)


def test_an_unknown_key_names_the_closest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'optim.lr_scale'.*Did you mean 'lr'"):
        bind(Outer, {"name": "a", "optim": {"lr_scale": 0.1}})


def test_a_key_that_lives_one_level_down_is_pointed_to() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'optim\.betas'"):
        bind(Outer, {"name": "a", "betas": [1, 2]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "'name' is missing"),
        ({"name": "a", "mode": "cache"}, "Did you mean 'cached'"),
        ({"name": "a", "steps": 1.5}, "'steps' is 1.5; expected int"),
        ({"name": "a", "steps": True}, "'steps' is True; expected int"),
        ({"name": "a", "optim": 3}, "'optim' is 3"),
        ({"name": "a", "optim": {"betas": [1]}}, r"'optim.betas' is \[1\]"),
        ({"name": "a", "optim": {"lr": "fast"}}, "'optim.lr' is 'fast'; expected float"),
        ({"name": "a", "sets": "x"}, "'sets' is 'x'"),
    ],
)
def test_wrong_values_say_what_was_found_and_expected(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bind(Outer, data)


def test_naming_another_plugin_drops_the_options_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: a\nplugin: {name: refcoco, root: /data}\n")
    assert read_file(file, [("plugin", "ade20k")])["plugin"] == {"name": "ade20k"}
    assert read_file(file, [("plugin", "refcoco")])["plugin"] == {"name": "refcoco", "root": "/data"}


def test_a_missing_file_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no configuration file configs/train/refre.yaml.*Did you mean 'refer'"):
        read_file("configs/train/refre.yaml")


def test_bad_yaml_and_overrides_through_values_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: [1\n")
    with pytest.raises(ConfigError, match="not readable as YAML"):
        read_file(file)
    file.write_text("a: 1\n")
    with pytest.raises(ConfigError, match="a is 1, which has no settings"):
        read_file(file, [("a.b", "2")])
    with pytest.raises(ConfigError, match="'sets' is '\\[a': not readable as YAML"):
        bind(Outer, {"name": "x", "sets": read_file(file, [("sets", "[a")])["sets"]})


def test_plain_data_and_back_is_the_same_configuration() -> None:
    built = Outer("a", Inner(2.0), "online", ("x",), {"name": "p", "k": [1, 2]}, 3, True)
    assert bind(Outer, to_plain(built)) == built
    assert bind(Outer, yaml.safe_load(spelled_out(built))) == built


def test_replaced_changes_a_nested_setting_and_nothing_else() -> None:
    before = Outer("a")
    after = replaced(before, {"optim.lr": 1.0, "name": "b"})
    assert (after.name, after.optim.lr, after.optim.betas) == ("b", 1.0, before.optim.betas)
    assert before == Outer("a")


def test_only_a_lost_process_is_worth_a_restart() -> None:
    """With two workers, the partner of one that raises fails with a closed connection."""
    closed = RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [192.0.2.2]:41234")
    assert all(map(is_lost_worker, [None, closed]))  # killed
    assert not all(map(is_lost_worker, [AttributeError("no attribute 'x'"), closed]))  # would fail again
