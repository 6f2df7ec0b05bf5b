"""`--help` of every command: each setting and each plug-in option, the values in force, and nothing heavy loaded."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffusion_perception.settings import describe, modules, signatures, values
from diffusion_perception.settings.plain import key_of
from jobs import help_text
from jobs import set as set_tools
from jobs.command import COMMANDS as SINGLE

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = SINGLE | {f"set {name}": module for name, module in set_tools.FAMILY.items()}
SETTINGS = {name: module for name, module in COMMANDS.items() if hasattr(importlib.import_module(module), "JOB")}


def shown(module: str, *words: str) -> str:
    return help_text.help_of(importlib.import_module(module), [*words, "--help"])


EXAMPLES = {"train": "configs/train/refer.yaml", "check": "configs/build/refcoco.yaml"}  # commands without a default


def fields(cls: type, where: str = "") -> Iterator[tuple[str, typing.Any]]:
    """Dotted path and type of every field, found here by other means than the help's."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        path, hint = values.dotted(where, key_of(field)), hints[field.name]
        inner = [part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)]
        entry = "[]" if values.shape_of(hint) is list else ""
        for section in inner:
            yield from fields(section, f"{path}{entry}")  # type: ignore[arg-type]
        if not inner:
            yield path, hint


@pytest.mark.parametrize("name", SETTINGS)
def test_every_field_and_every_flag_appears_with_its_type_and_a_line_about_it(name: str) -> None:
    text = shown(COMMANDS[name])
    job = importlib.import_module(COMMANDS[name])
    found = {setting.path: setting for setting in describe.settings_of(job.JOB)}
    for path, hint in fields(job.JOB):
        kind = "plug-in" if describe.package_in(hint) and values.shape_of(hint) is not None else values.spelled(hint)
        assert f"  {path}: {kind}" in text or f"  {path}: plug-in" in text, path
        assert found[path].doc, f"{path} has no comment that says what it is for"
    assert all(f"--{flag}" in text for flag in (*job.FLAGS, "config", "help"))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_option_of_every_plugin_appears_where_it_is_named(name: str) -> None:
    job = importlib.import_module(COMMANDS[name])
    for setting in describe.settings_of(job.JOB):
        for plugin in modules.available(setting.package) if setting.package else ():
            words = [f"{setting.path}.name={plugin}"]  # `task=depth` is --task depth
            words += ["--config", EXAMPLES[name]] if name in EXAMPLES else []
            text = shown(COMMANDS[name], *words)
            assert f"{setting.path}: plug-in = {plugin} *" in text
            others = [other for other in modules.available(setting.package or "") if other != plugin]
            assert all(other in text for other in others)
            for option in describe.options_of(setting.package or "", plugin, "").options:
                assert f"  {setting.path}.{option.name}: {values.spelled(option.hint)}" in text
                assert option.doc, f"{setting.package}.{plugin}: nothing is said about {option.name}"


def test_the_value_in_force_is_the_default_the_files_or_the_command_lines() -> None:
    text = shown("jobs.train", "--task", "depth", "optim.lr=1e-3", "task.crop=eigen")
    for line in (
        "run.name: str = nyuv2-vpd *",
        "optim.lr: float = 1e-3 *",
        "task.crop: str = eigen *",
        "task.view_fit: str = padded ",
        "loop.steps: int = 0 ",
        "model.head: plug-in = depth_decoder",
        "optim.schedule: plug-in = two_phase *",
    ):
        assert f"  {line}" in text
    without = shown("jobs.train")
    assert "run.name: str (required)" in without
    assert "note: " not in without


def test_views_of_one_split_and_an_options_default_of_a_constant_are_shown() -> None:
    text = shown("jobs.build_shards", "--config", "configs/build/nyuv2.yaml")
    assert "views_of.test: plug-in = depth_tiles *" in text
    assert "views_of.test.flip: bool = true" in text
    assert "source.mat: str = nyu_depth_v2_labeled.mat" in text
    assert "image.device" not in text  # decided by the placement


def test_words_that_are_wrong_are_noted_and_help_is_given_still() -> None:
    text = shown("jobs.train", "--task", "deph")
    assert "note: only defaults are shown. no configuration file configs/train/deph.yaml. Did you mean 'depth'" in text
    assert "optim.lr: float = 5e-05" in text


def test_an_outside_plugin_tells_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").touch()
    (tmp_path / "elsewhere" / "views.py").write_text(
        'def build(size: int, kernel: str = "a"):\n    """A plan.\n\n    Args:\n        size: of it.\n    """\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = shown("jobs.build_shards", "views={name: elsewhere.views, size: 3}")
    assert "  views.size: int = 3 *                       of it.\n  views.kernel: str = a" in text


@pytest.mark.parametrize("file", ["jobs/train.py", "jobs/build_shards.py", "jobs/predict.py"])
def test_help_loads_nothing_heavy(file: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{file!r}, '-h']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print([m for m in ('torch', 'ray', 'diffusers', 'transformers') if m in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"
    assert "--config FILE" in ran.stdout


def test_docs_are_the_comments_beside_or_above_and_the_args_of_a_class_that_an_entry_names() -> None:
    from dataclass_with_comments import Commented

    from diffusion_perception.settings.field_docs import field_docs

    assert field_docs(Commented) == {
        "beside": "of it",
        "above": "two lines of it",
        "wide": "at its end",
        "text": "no",
    }
    docs = signatures.option_docs(
        "X.\n\nArgs:\n    a, b: see `Other`.\n    c: of it,\n        and more.\n",
        lambda name: "Y.\n\nArgs:\n    a: first.\n" if name == "Other" else "",
    )
    assert docs == {"a": "first.", "b": "see `Other`.", "c": "of it, and more."}
