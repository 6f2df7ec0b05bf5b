"""One dependency list: pyproject.toml names with lower bounds, constraints pin, environment.yml wraps; all agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PINNED, LOWEST = "constraints.txt", "constraints-lowest.txt"
PACKAGES = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs", "demo")
USER_FIXED = {"torch", "diffusers", "transformers", "webdataset", "ray", "h5py", "pycocotools", "scipy"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, requirements)}


def runtime() -> dict[str, Requirement]:
    return named(project()["dependencies"])


def extras(*names: str) -> dict[str, Requirement]:
    groups = project()["optional-dependencies"]
    return named([requirement for name in names or groups for requirement in groups[name]])


def declared() -> dict[str, Requirement]:
    """Every dependency, those of every extra included."""
    return runtime() | extras()


def pins(file: str = PINNED) -> dict[str, str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    pinned = {canonicalize_name(name): release for name, release in pairs}
    assert len(pinned) == len(lines), f"{file} pins a package twice"
    return pinned


def lower_bound(requirement: Requirement) -> str:
    """The version of a `>=`, or '' where the requirement has none."""
    return next((part.version for part in requirement.specifier if part.operator == ">="), "")


def test_every_dependency_is_pinned_in_both_lists_within_its_bounds() -> None:
    for file in (PINNED, LOWEST):
        pinned = pins(file)
        assert set(declared()) <= set(pinned), file
        outside = [f"{r} but {pinned[name]}" for name, r in declared().items() if pinned[name] not in r.specifier]
        assert not outside, f"{file}: {outside}"


def test_every_lower_bound_is_the_version_it_was_tested_with() -> None:
    lowest = pins(LOWEST)
    assert {name: lower_bound(r) for name, r in declared().items()} == {name: lowest[name] for name in declared()}


def test_the_packages_the_user_fixed_are_there_and_refer_is_not() -> None:
    assert set(runtime()) >= USER_FIXED
    assert "refer" not in declared(), "nothing on PyPI by that name is the REFER API; a squatter could take it"


def test_whatever_the_product_imports_is_a_dependency() -> None:
    """Of an extra for people only where a function needs it: who does not use it imports everything without."""
    owners, optional = packages_distributions(), extras(*(set(project()["optional-dependencies"]) - {"dev"}))
    undeclared = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        at_the_top = set(tree.body)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names - set(PACKAGES)
            for name in foreign:
                allowed = set(runtime()) | (set() if node in at_the_top else set(optional))
                if not {canonicalize_name(owner) for owner in owners.get(name, [name])} & allowed:
                    undeclared.add(f"{path.relative_to(ROOT)} imports {name}")
    assert not undeclared, "\n".join(sorted(undeclared))


def test_the_pins_leave_room_for_the_clients_of_s3_and_for_gradio() -> None:
    wanted = {"python-dateutil": "<3", "pillow": "<13", "tomlkit": "<0.15"}  # by botocore; by gradio; by gradio
    assert not [name for name, bound in wanted.items() if pins()[name] not in SpecifierSet(bound)]


def test_conda_installs_exactly_this_project_under_these_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert f">={python.split('=')[1]}" == project()["requires-python"]


def test_the_lowest_versions_are_those_for_the_oldest_python() -> None:
    header = re.match(r"(#.*\n)+", (ROOT / LOWEST).read_text())
    oldest = project()["requires-python"].removeprefix(">=")
    assert header is not None
    assert f"--python-version {oldest} " in header[0]


def test_what_runs_here_is_one_of_the_two_lists() -> None:
    here = {name: version(name).split("+")[0] for name in runtime() | extras("dev")}
    pinned, lowest = ({name: pins(file)[name] for name in here} for file in (PINNED, LOWEST))
    differing = {name: f"{here[name]}, pinned {pinned[name]}" for name in here if here[name] != pinned[name]}
    assert here in (pinned, lowest), f"installed versions are not those of {PINNED}: {differing}"


def test_torch_is_the_version_the_project_is_built_on() -> None:
    assert pins()["torch"] == "2.13.0"
