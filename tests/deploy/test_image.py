"""The Dockerfile and the dashboard: what they copy, install, call and draw exists."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IGNORED = ROOT / "deploy" / "Dockerfile.dockerignore"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of every instruction, without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in lines]


def copied() -> list[str]:
    return [path for word, rest in instructions() if word == "COPY" for path in rest.split()[:-1]]


def test_everything_that_is_copied_exists_and_the_build_may_see_it() -> None:
    assert [path for path in copied() if not (ROOT / path).exists()] == []
    shown = [line.removeprefix("!") for line in IGNORED.read_text().splitlines() if line.startswith("!")]
    assert sorted(shown) == sorted(copied())
    assert "*" in IGNORED.read_text().splitlines()


def test_what_the_wheel_is_made_of_is_copied() -> None:
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert set(copied()) >= {*wheel, "pyproject.toml", PYPROJECT["project"]["readme"], "LICENSE"}


def test_everything_is_installed_under_the_pins() -> None:
    installs = re.findall(r"pip install ([^&]+)", " && ".join(rest for word, rest in instructions() if word == "RUN"))
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in install for install in installs)
    (extras,) = re.findall(r"\.\[([\w,]+)\]", installs[1])
    assert set(extras.split(",")) <= set(PYPROJECT["project"]["optional-dependencies"]) - {"dev"}


def test_python_is_the_version_of_the_environment() -> None:
    (base,) = [rest for word, rest in instructions() if word == "FROM"]
    packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = [p.removeprefix("python=") for p in packages if str(p).startswith("python=")]
    assert base.startswith(f"python:{python}-")


def test_cpu_and_cuda_are_the_two_accelerators_and_the_default_is_one() -> None:
    (default,) = [rest for word, rest in instructions() if word == "ARG"]
    run = next(rest for word, rest in instructions() if word == "RUN" and "ACCELERATOR" in rest)
    assert re.findall(r"(\w+)\) set --", run) == ["cpu", "cuda"]
    assert default == "ACCELERATOR=cpu"
    assert "exit 2" in run


def test_nothing_runs_as_root() -> None:
    words = [word for word, _ in instructions()]
    assert dict(instructions())["USER"] == "1000"  # a number, so that a cluster can see that it is not root
    assert words.index("USER") > max(place for place, word in enumerate(words) if word == "RUN")


def emitted() -> dict[str, str]:
    """Name -> kind of every metric that a command gives Ray, read off the source."""
    found = {}
    for file in (ROOT / "jobs").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in METRICS:
                name = node.args[0]
                assert isinstance(name, ast.Constant), file
                found[str(name.value)] = node.func.id
    return found


METRICS = ("Counter", "Gauge", "Histogram")


def drawn() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def test_the_dashboard_draws_every_metric_of_the_project_and_no_other_but_rays() -> None:
    ours = {f"ray_{name}{'_total' * (kind == 'Counter')}" for name, kind in emitted().items()}
    asked = {name for p in drawn() for target in p["targets"] for name in re.findall(r"\bray_\w+", target["expr"])}
    assert ours <= asked
    ray = find_spec("ray")
    assert ray is not None
    reporter = Path(next(iter(ray.submodule_search_locations or ())), "dashboard/modules/reporter/reporter_agent.py")
    known = set(re.findall(r'^    "(node_\w+)": Gauge\(', reporter.read_text(), re.MULTILINE))
    assert {name.removeprefix("ray_") for name in asked - ours} <= known


def test_panels_have_numbers_places_and_a_data_source_of_their_own() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for panel in drawn())
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource"]


@pytest.mark.parametrize("panel", drawn(), ids=lambda panel: panel["title"])
def test_brackets_of_a_query_close(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert [target["expr"].count(a) - target["expr"].count(b) for a, b in ("()", "[]", "{}")] == [0, 0, 0]
