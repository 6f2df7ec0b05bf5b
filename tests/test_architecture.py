"""The dependency table of the design, enforced on the source text, and what importing a package may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs")
MAY_IMPORT = {
    "shards": set(),
    "pipeline": {"shards"},
    "vpd": {"shards"},
    "diffusion_perception": {"shards", "pipeline", "vpd"},
    "jobs": {"shards", "pipeline", "vpd", "diffusion_perception"},
}
# Heavy library -> the only places (path prefixes) that may import it.
HOMES = {
    "ray": ("jobs/",),
    "yaml": ("diffusion_perception/",),
    "h5py": ("pipeline/sources/",),
    "scipy": ("pipeline/sources/",),
    "pycocotools": ("pipeline/sources/", "vpd/tasks/"),
    "transformers": ("pipeline/encoders/",),
    "diffusers": ("pipeline/encoders/", "vpd/backbones/"),
    "webdataset": ("shards/",),
    "fsspec": ("shards/", "vpd/training/checkpoint.py", "jobs/"),
    "torch": ("vpd/", "pipeline/encoders/", "diffusion_perception/", "jobs/"),
    "argparse": ("jobs/", "shards/verify.py", "shards/inspect.py"),
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of every absolute import of a file, wherever it stands, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("package", OURS)
def test_packages_import_only_what_the_table_allows(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for name, line in imports(path)
        if name in OURS and name != package and name not in MAY_IMPORT[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_stay_in_their_rooms(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in OURS
        for path in sources(package)
        for name, line in imports(path)
        if name == library and not str(path.relative_to(ROOT)).startswith(HOMES[library])
    ]
    assert not wrong, f"{library} is imported outside {HOMES[library]}: {wrong}"


def test_no_product_module_is_a_drawer_for_everything() -> None:
    banned = {"utils", "helpers", "common", "manager", "misc"}
    assert not [p for package in OURS for p in sources(package) if p.stem in banned]


def test_every_product_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in OURS
        for path in sources(package)
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert not silent, silent


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("shards", ("torch", "ray", "diffusers")),
        ("shards.reading.reader", ("torch", "ray")),
        ("shards.reading.stream", ("torch", "ray")),
        ("pipeline.sources.refcoco.source", ("torch", "ray", "diffusers", "transformers")),
        ("vpd.training.loop", ("ray", "transformers")),
        ("jobs.command_line", ("torch", "ray")),
    ],
)
def test_importing_a_module_loads_nothing_it_does_not_need(module: str, unwanted: tuple[str, ...]) -> None:
    code = f"import {module}, sys; print([m for m in {unwanted!r} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_the_check_itself_sees_a_forbidden_import(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from vpd.training.loop import train\n    import ray.train\n")
    assert list(imports(file)) == [("vpd", 2), ("ray", 3)]
