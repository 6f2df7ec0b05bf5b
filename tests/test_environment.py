"""One dependency list: pyproject.toml names, constraints.txt pins, environment.yml wraps; all three must agree."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
USER_FIXED = {"torch", "diffusers", "transformers", "webdataset", "ray", "h5py", "pycocotools", "scipy"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): pinned for name, pinned in pairs}


def declared() -> dict[str, str]:
    """Name -> requirement as written, dev tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    written = project["dependencies"] + project["optional-dependencies"]["dev"]
    return {re.split(r"[\[<>=!~ ]", r)[0].lower(): r for r in written}


def test_every_dependency_is_pinned_exactly_once_and_in_one_place() -> None:
    assert set(declared()) <= set(pins())
    assert not [r for r in declared().values() if re.search(r"[<>=~]", r)], "versions belong in constraints.txt"


def test_the_packages_the_user_fixed_are_there_and_refer_is_not() -> None:
    assert set(declared()) >= USER_FIXED
    assert "refer" not in declared(), "nothing on PyPI by that name is the REFER API; a squatter could take it"


def test_conda_installs_exactly_this_project_under_these_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert (
        f">={python.split('=')[1]}"
        == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )


def test_what_runs_here_is_what_is_pinned() -> None:
    for name in declared():
        assert version(name).split("+")[0] == pins()[name], name


def test_torch_is_the_version_the_project_is_built_on() -> None:
    assert pins()["torch"] == "2.13.0"
