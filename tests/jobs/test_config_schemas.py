"""JSON schemas: the files in docs/ are those the code makes, shipped configurations fit them, wrong ones do not."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from diffusion_perception import settings
from diffusion_perception.settings.layers import Layered
from diffusion_perception.settings.typed import untyped
from jobs import schema
from shards.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(file for kind in ("build", "train", "demo") for file in (ROOT / "configs" / kind).glob("*.yaml"))


made = functools.cache(schema.text_of)


def faults(kind: str, data: Any) -> list[str]:
    validator = jsonschema.Draft7Validator(json.loads(made(kind)))
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(data)]


def given(file: Path) -> dict[str, Any]:
    """What a file and its bases say; a plug-in of another name keeps nothing of its base's options."""
    data = {**settings.read_file(file)}
    plugins = {key: value.over for key, value in data.items() if isinstance(value, Layered) and key != "run"}
    return untyped({**data, **plugins})


@pytest.mark.parametrize("kind", schema.CONFIGURED)
def test_the_schema_in_the_documentation_is_the_one_the_code_makes(kind: str) -> None:
    """After a change of settings: python jobs/schema.py all=docs/schemas"""
    jsonschema.Draft7Validator.check_schema(json.loads(made(kind)))
    assert (ROOT / "docs" / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8") == made(kind)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_configuration_fits_its_schema(file: Path) -> None:
    """As it is written, and with everything that its bases give."""
    kind = "build" if "build" in (file.parent.name, file.stem.partition("_")[0]) else "train"
    assert faults(kind, yaml.safe_load(file.read_text())) == []
    assert faults(kind, given(file)) == []


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_configuration_names_its_schema_for_an_editor(file: Path) -> None:
    first = file.read_text().partition("\n")[0]
    _, _, named = first.partition("# yaml-language-server: $schema=")
    kind = "build" if "build" in (file.parent.name, file.stem.partition("_")[0]) else "train"
    assert (file.parent / named).resolve() == ROOT / "docs" / "schemas" / f"{kind}.schema.json"


WHOLE = {
    "run": {"name": "a"},
    "task": "refer",
    "backbone": {"name": "sd_unet", "model": "m"},
    "data": {"train": "/x"},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optim": {"lr": "1e-4", "schedule": {"warmup_steps": 5}}},
        {"data": {"train": "/x", "val": None, "source": {"name": "my.source", "anything": 1}}},
        {"task": {"name": "seg", "classes": 19}},
        {"predict_views": {"name": "segmentation_tiles", "base": [512, 128]}},
        {"backbone": {"base": "sd.yaml", "timestep": None}},
        {"loop": None},
    ],
)
def test_what_binds_fits(changes: dict[str, Any]) -> None:
    assert faults("train", WHOLE | changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"taks": "refer"},
        {"run": {}},
        {"run": {"name": 3}},
        {"run": {"name": None}},
        {"task": None},
        {"task": "reffer"},
        {"task": {"name": "seg", "clases": 19}},
        {"task": {"name": "seg", "classes": "many"}},
        {"task": {"name": "refer", "classes": 19}},
        {"data": {"train": "/x", "latents": "cache"}},
        {"optim": {"betas": [0.9]}},
        {"optim": {"lr": "fast"}},
        {"optim": {"schedule": {"warm_up": 5}}},
        {"loop": {"steps": 1.5}},
        {"base": "not a file"},
    ],
)
def test_what_does_not_bind_does_not_fit(changes: dict[str, Any]) -> None:
    assert faults("train", WHOLE | changes) != []


def test_a_variant_need_not_hold_what_its_base_does() -> None:
    assert faults("train", {"base": "refer.yaml", "optim": {"lr": 1}}) == []
    assert faults("train", {"optim": {"lr": 1}}) != []


def test_the_command_prints_one_and_names_those_there_are(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    schema.run(["train"])
    assert json.loads(capsys.readouterr().out)["title"] == "diffusion-perception train"
    schema.run([f"all={tmp_path / 'new'}"])
    assert len(list((tmp_path / "new").glob("*.schema.json"))) == len(schema.CONFIGURED)
    with pytest.raises(ConfigError, match=r"no schema 'trian'. Did you mean 'train'"):
        schema.run(["trian"])
    with pytest.raises(ConfigError, match="say which schema"):
        schema.run([])
