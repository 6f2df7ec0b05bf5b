"""The wheel: what it holds, and that an installed copy works from an empty folder without the repository.

Its environment sees the dependencies of the one the tests run in, but not the editable install there: a path file names
that folder of packages, and path files found in a folder named so are not followed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from shards.native.compiling import compiler, library_name

ROOT = Path(__file__).resolve().parent.parent
TYPED = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs")
PACKAGES = (*TYPED, "demo")
CONFIGS = "diffusion_perception/configs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

USE = f"""
import importlib, importlib.metadata, importlib.resources, json, pathlib, sys
folders = {{name: list(importlib.import_module(name).__path__) for name in {PACKAGES}}}
from shards.native.library import reading_with
from shards import ShardSet  # a name with something behind it, not an empty namespace
configs = importlib.resources.files("diffusion_perception") / "configs"
found = {{f"{{kind.name}}/{{file.name}}": file.read_text() for kind in configs.iterdir() for file in kind.iterdir()}}
print(json.dumps({{
    "folders": folders, "configs": found, "version": importlib.metadata.version("diffusion-perception"),
    "left": [path.name for path in pathlib.Path().iterdir()], "reading": reading_with(),
}}))
"""


def without_python() -> dict[str, str]:
    """The environment without any of this process's Python settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def ran(*command: str | Path, cwd: Path) -> str:
    """What a program printed."""
    clean = without_python()
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(project: Path, into: Path) -> Path:
    """A wheel made by the build backend of this environment, offline."""
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")
    ran(sys.executable, "-m", "pip", "wheel", *options, into, project, cwd=into)
    (wheel,) = into.glob("*.whl")
    return wheel


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and nothing else of this project."""
    folder = tmp_path_factory.mktemp("environment")
    ran(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", python)
    ran(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python3*/site-packages")
    places = dict.fromkeys(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(places) + "\n")  # only now: pip would find the editable one
    return python


def test_the_wheel_holds_packages_configurations_licence_and_nothing_else(wheel: Path) -> None:
    files = files_of(wheel)
    info = f"diffusion_perception-{PROJECT['version']}.dist-info"
    modules = {str(p.relative_to(ROOT)) for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    assert {name for name in files if name.endswith(".py")} == modules
    assert {name for name in files if name.endswith("py.typed")} == {f"{package}/py.typed" for package in TYPED}
    configs = {f"{CONFIGS}/{p.relative_to(ROOT / 'configs')}": p.read_bytes() for p in ROOT.glob("configs/*/*.yaml")}
    assert configs
    assert {name: data for name, data in files.items() if name.startswith(CONFIGS)} == configs
    assert files[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert {name.split("/")[0] for name in files} == {*PACKAGES, info}
    assert not [name for name in files if "__pycache__" in name]
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "shards/native").glob("*.[ch]")}
    assert {name for name in files if name.endswith((".c", ".h"))} == sources
    library = [f"shards/native/{library_name()}"] if compiler() else []
    assert [name for name in files if name.endswith(".so")] == library


def test_a_wheel_made_from_the_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    ran(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        assert {name.split("/")[1] for name in tar.getnames()} >= {"LICENSE", "constraints.txt", "tests", "configs"}
        tar.extractall(tmp_path, filter="data")
    again = build_wheel(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path)
    assert files_of(again) == files_of(wheel)


def test_an_installed_copy_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    seen = json.loads(ran(installed, "-c", USE, cwd=tmp_path))
    environment = installed.parent.parent
    for name, folders in seen["folders"].items():
        assert [Path(folder).is_relative_to(environment) for folder in folders] == [True], f"{name} is {folders}"
    assert seen["configs"] == {f"{p.parent.name}/{p.name}": p.read_text() for p in ROOT.glob("configs/*/*.yaml")}
    assert seen["version"] == PROJECT["version"]
    assert seen["reading"].startswith(f"compiled C ({environment}" if compiler() else "Python (nothing")
    assert seen["left"] == [], "importing the packages wrote into the working folder"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ["diffusion-perception COMMAND", "  train ", "  predict ", "  schema "]),
        (["--version"], [PROJECT["version"]]),
        # The values are those of a configuration, which is found in the wheel; options are read off a plug-in there.
        (["train", "--help", "--task", "depth"], ["  run.name: str = nyuv2-vpd *", "  task.crop: str = nyu"]),
        (["predict", "--help"], ["  sentence: str = ", "known names: depth, depth_tiles"]),
    ],
)
def test_the_console_command_works_from_an_empty_folder(
    installed: Path, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    printed = ran(installed.parent / "diffusion-perception", *words, cwd=tmp_path)
    assert not [line for line in expected if line not in printed], printed
    assert "note: " not in printed
    assert list(tmp_path.iterdir()) == []


def test_the_console_command_refuses_in_words(installed: Path, tmp_path: Path) -> None:
    command = [installed.parent / "diffusion-perception", "train", "--task", "refer", "task.nonsense=1", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=without_python(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("\nConfigError: unknown setting 'task.nonsense'. refer reads: ")
    assert done.stderr.count("\n") == 2
