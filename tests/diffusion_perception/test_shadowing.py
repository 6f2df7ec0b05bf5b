"""A user's own file or folder named like one of our packages: what is said, and when it does no harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("shards", "pipeline", "vpd")


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python started in a folder, with the project further back on its path, as an installed package is."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def strange(folder: Path, name: str, kind: str) -> Path:
    path = folder / (f"{name}.py" if kind == "file" else f"{name}/__init__.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine = True\n")
    return path


@pytest.mark.parametrize(("name", "kind"), [("shards", "file"), ("pipeline", "file"), ("vpd", "folder")])
def test_a_file_or_folder_that_hides_a_package_is_named(tmp_path: Path, name: str, kind: str) -> None:
    mine = strange(tmp_path, name, kind)
    ran = python(tmp_path, "-c", "import diffusion_perception")
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: `{name}` would be imported from {mine.resolve()}, ")
    assert str(ROOT / name) in last
    assert "rename yours" in last


def test_one_that_is_loaded_already_is_named_too(tmp_path: Path) -> None:
    mine = strange(tmp_path, "pipeline", "file")
    for command in ("diffusion_perception", "jobs.predict"):
        ran = python(tmp_path, "-c", f"import pipeline; import {command}")
        assert ran.returncode == 1
        assert f"ImportError: `pipeline` is already imported from {mine.resolve()}, " in ran.stderr


def test_a_module_without_a_file_is_no_package_of_ours(tmp_path: Path) -> None:
    made = "import sys, types; sys.modules['vpd'] = types.ModuleType('vpd'); import diffusion_perception"
    ran = python(tmp_path, "-c", made)
    assert "ImportError: `vpd` is already imported from nowhere, " in ran.stderr


def test_a_folder_of_data_with_such_a_name_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000000.tar").touch()
    ran = python(tmp_path, "-c", "import diffusion_perception, shards; print(shards.__file__)")
    assert ran.stdout.strip() == str(ROOT / "shards" / "__init__.py"), ran.stderr


@pytest.mark.parametrize("words", [("-m", "jobs.convert_checkpoint"), (str(ROOT / "jobs" / "convert_checkpoint.py"),)])
def test_commands_put_their_own_packages_first(tmp_path: Path, words: tuple[str, ...]) -> None:
    """They get as far as reading their settings, whatever lies in the folder they are started in."""
    for name in NAMES:
        strange(tmp_path, name, "file")
    ran = python(tmp_path, *words, "out=there")
    assert ran.returncode == 1
    assert "ConfigError: " in ran.stderr
    assert "ImportError" not in ran.stderr
