"""`base: FILE.yaml`: variants hold the lines that differ, at any depth, and shipped ones resolve as they always did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from diffusion_perception.building.builder import BuildJob
from diffusion_perception.settings import bind, read_file, to_plain
from diffusion_perception.settings.layers import Layered
from diffusion_perception.settings.typed import untyped
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
RESOLVED = Path(__file__).parent / "resolved.json"  # file -> digest of its settings


@dataclass(frozen=True)
class Run:
    name: str = ""
    workers: int = 1
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    name: str
    run: Run = field(default_factory=Run)
    views: Annotated[Mapping[str, Any], "pipeline.views"] = field(default_factory=dict)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    return write


def job(folder: Path, name: str, *overrides: tuple[str, str]) -> Job:
    return bind(Job, read_file(folder / f"{name}.yaml", overrides))


def test_a_variant_lies_over_its_base_through_a_chain(write: Any) -> None:
    folder = write(
        a="name: a\nrun: {name: one, workers: 3, sets: [x, y]}\nviews: {name: segmentation, k: 2, crop: 64}\n",
        b="base: a.yaml\nname: b\nrun: {name: two, sets: [z]}\nviews: {k: 4}\n",
        c="base: b.yaml\nrun: {name: three}\n",
    )
    expected = Job("b", Run("three", 3, ("z",)), {"name": "segmentation", "k": 4, "crop": 64})
    assert job(folder, "c") == expected


def test_naming_another_plugin_drops_the_options_of_the_first_and_of_a_section_nothing(write: Any) -> None:
    folder = write(
        a="name: a\nrun: {name: one, workers: 3}\nviews: {name: segmentation, k: 2, crop: 64}\n",
        b="base: a.yaml\nrun: {name: two}\nviews: {name: depth_tiles, flip: false}\n",
        c="base: b.yaml\nviews: {stride: 8}\n",
    )
    assert job(folder, "c") == Job("a", Run("two", 3), {"name": "depth_tiles", "flip": False, "stride": 8})
    assert job(folder, "c", ("views.flip", "true"), ("run.workers", "4")) == Job(
        "a", Run("two", 4), {"name": "depth_tiles", "flip": True, "stride": 8}
    )
    assert job(folder, "c", ("views", "segmentation")).views == {"name": "segmentation"}


def test_null_goes_back_to_the_default(write: Any) -> None:
    folder = write(
        a="name: a\nrun: {workers: 3}\nviews: {name: segmentation, k: 2, crop: 64}\n",
        b="base: a.yaml\nrun: null\nviews: {crop: null}\n",
    )
    assert job(folder, "b") == Job("a", Run(), {"name": "segmentation", "k": 2})


def test_a_base_may_stand_inside_and_an_option_of_that_name_is_none(write: Any) -> None:
    folder = write(
        half="base: quarter.yaml\nname: segmentation\ncrop: 64\n",
        quarter="k: 3\n",
        a="name: a\nviews: {base: half.yaml, k: 5}\n",
        b="name: b\nviews: {name: segmentation, base: [512, 128]}\n",
    )
    assert job(folder, "a").views == {"name": "segmentation", "crop": 64, "k": 5}
    assert job(folder, "b").views == {"name": "segmentation", "base": [512, 128]}


def test_a_base_that_leads_in_a_circle_or_nowhere_names_the_chain(write: Any) -> None:
    folder = write(
        a="base: b.yaml\n", b="base: c.yaml\n", c="run: {base: a.yaml}\n", d="base: bb.yaml\n", e="base: d.yaml\n"
    )
    with pytest.raises(ConfigError, match=r"a\.yaml -> \S+b\.yaml -> \S+c\.yaml -> \S+a\.yaml: base leads in a circle"):
        read_file(folder / "a.yaml")
    with pytest.raises(ConfigError, match=r"no configuration file bb\.yaml, the base of \S+e\.yaml -> \S+d\.yaml"):
        read_file(folder / "e.yaml")


def test_a_base_is_looked_for_beside_its_file_and_then_in_the_project(write: Any) -> None:
    folder = write(a="base: configs/base/stable_diffusion_15.yaml\n")
    assert set(read_file(folder / "a.yaml")) == {"model", "revision"}


def digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def given(file: Path) -> dict[str, Any]:
    """What a file and its bases say; a plug-in of another name keeps nothing of its base's options."""
    data = {**read_file(file)}
    plugins = {key: value.over for key, value in data.items() if isinstance(value, Layered) and key != "run"}
    return untyped({**data, **plugins})


def resolved(file: Path) -> Any:
    """Settings that a file decides, of the types they have in the job."""
    kind = BuildJob if "build" in (file.parent.name, file.stem.partition("_")[0]) else TrainJob
    bound = to_plain(bind(kind, read_file(file)))

    def only(bound: Any, given: Any) -> Any:
        if isinstance(bound, dict) and isinstance(given, dict):
            return {key: only(bound[key], given[key]) for key in given if given[key] is not None}
        return bound

    return only(bound, given(file))


FILES = sorted(file for kind in ("build", "train", "demo") for file in (CONFIGS / kind).glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_configuration_resolves_to_what_it_was_before_files_had_bases(file: Path) -> None:
    """Changed on purpose? `PYTHONPATH=. python tests/diffusion_perception/settings/test_composition.py` writes anew."""
    assert digest(resolved(file)) == json.loads(RESOLVED.read_text())[f"{file.parent.name}/{file.name}"]


@pytest.mark.parametrize("name", ["build/own_seg", "build/own_depth", "build/own_pictures", "build/own_refer",
                                  "build/own_tars", "build/own_hf_seg",
                                  "train/own_seg", "train/own_depth", "train/own_refer"])  # fmt: skip
def test_a_configuration_of_ones_own_data_can_be_copied_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/own_data.md begins: what it bases on is found from the project, not from beside the copy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text((CONFIGS / f"{name}.yaml").read_text())
    assert untyped(read_file(tmp_path / "mine.yaml")) == untyped(read_file(CONFIGS / f"{name}.yaml"))


def test_the_pretrained_model_stands_once() -> None:
    named = [file.name for file in CONFIGS.rglob("*.yaml") if "451f4fe" in file.read_text()]
    assert named == ["stable_diffusion_15.yaml"]


if __name__ == "__main__":
    table = {f"{file.parent.name}/{file.name}": digest(resolved(file)) for file in FILES}
    RESOLVED.write_text(json.dumps(table, indent=1) + "\n")
