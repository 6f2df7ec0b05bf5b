"""The plan of the house, enforced on the source text: layers, rooms, no cycles, and what an import may load."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import cycles, folded, graph, imports, modules, tree

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "shards": set(),
    "pipeline": {"shards"},
    "vpd": {"shards"},
    "diffusion_perception": {"shards", "pipeline", "vpd"},
    "jobs": {"shards", "pipeline", "vpd", "diffusion_perception"},
    "demo": {"shards", "pipeline", "vpd", "diffusion_perception", "jobs"},
    "benchmarks": {"shards", "pipeline", "vpd", "diffusion_perception", "jobs", "demo"},
    "website": set(),
}
PRODUCT = ("shards", "pipeline", "vpd", "diffusion_perception", "jobs")
# Heavy library -> the only places (path prefixes) that may import it.
HOMES = {
    "ray": ("jobs/",),
    "yaml": ("diffusion_perception/", "jobs/"),
    "argparse": ("jobs/", "shards/verify.py", "shards/inspect.py"),
    "torch": ("vpd/", "pipeline/encoders/", "diffusion_perception/", "jobs/"),
    "diffusers": ("pipeline/encoders/", "vpd/backbones/", "vpd/features/"),
    "transformers": ("pipeline/encoders/",),
    "huggingface_hub": ("shards/models/", "shards/storage/"),
    "gradio": ("diffusion_perception/ui/",),
    "datasets": ("pipeline/sources/hf_dataset/",),
    "tensorboard": ("vpd/training/",),
    "h5py": ("pipeline/sources/", "pipeline/files/"),
    "scipy": (),  # its reader of .mat files ends the process on damaged ones; demo and tests write and compare with it
    "pycocotools": ("pipeline/sources/", "vpd/tasks/"),
    "webdataset": ("shards/writing/",),
    "xxhash": ("shards/contract/", "shards/reading/", "vpd/training/"),
    "obstore": ("shards/storage/",),
    "fsspec": (
        "shards/storage/",
        "vpd/training/",
        "diffusion_perception/evaluation",
        "diffusion_perception/predicting/picture_files",
        "pipeline/sources/hf_dataset/",  # a row of a stream names its file by a URL or a place in an archive
    ),
}
KNOW_ARGV = ("jobs/", "shards/verify.py", "shards/inspect.py")

FILES = modules(ROOT, MAY_IMPORT)
GRAPH = graph(FILES)


def place(module: str) -> str:
    return FILES[module].relative_to(ROOT).as_posix()


def of(*packages: str) -> Iterator[str]:
    yield from (module for module in FILES if module.split(".")[0] in packages)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_the_table_allows(package: str) -> None:
    wrong = [
        f"{place(module)}:{line} imports {target}"
        for module in of(package)
        for target, _, line in imports(FILES[module])
        if (top := target.split(".")[0]) in MAY_IMPORT and top != package and top not in MAY_IMPORT[package]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_stay_in_their_rooms(library: str) -> None:
    wrong = [
        f"{place(module)}:{line}"
        for module in of(*PRODUCT)
        for target, _, line in imports(FILES[module])
        if target.split(".")[0] == library and not place(module).startswith(HOMES[library])
    ]
    assert not wrong, f"{library} is imported outside {HOMES[library]}: {wrong}"


def test_only_commands_read_the_command_line() -> None:
    wrong = [
        f"{place(module)}:{node.lineno}"
        for module in of(*PRODUCT)
        if not place(module).startswith(KNOW_ARGV)
        for node in ast.walk(tree(FILES[module]))
        if (isinstance(node, ast.Attribute) and node.attr == "argv")
        or (isinstance(node, ast.ImportFrom) and node.module == "sys" and "argv" in {a.name for a in node.names})
    ]
    assert not wrong, wrong


def test_no_module_imports_itself_through_others() -> None:
    """Types and imports inside functions count."""
    assert not cycles(GRAPH), "\n".join(" <-> ".join(cycle) for cycle in cycles(GRAPH))


@pytest.mark.parametrize("package", PRODUCT)
def test_rooms_of_a_package_do_not_need_each_other_in_circles(package: str) -> None:
    """In every folder: its modules and its folders, each folder taken as one, and its `__init__` as another."""
    folders = sorted({module.rpartition(".")[0] for module in of(package) if "." in module})
    for folder in folders:
        depth = folder.count(".") + 2
        rooms = {m: ".".join(m.split(".")[:depth]) for m in FILES if m == folder or m.startswith(folder + ".")}
        # A package's own `__init__` has its name, so it is a room beside those in it, as it should be.
        found = cycles(folded(GRAPH, rooms))
        assert not found, f"{folder}: " + "; ".join(" <-> ".join(cycle) for cycle in found)


def test_no_import_is_relative() -> None:
    """The graph above would not see it."""
    wrong = [
        f"{place(module)}:{node.lineno}"
        for module in FILES
        for node in ast.walk(tree(FILES[module]))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not wrong, wrong


def test_no_product_module_is_a_drawer_for_everything() -> None:
    banned = {"utils", "helpers", "common", "manager", "misc"}
    assert not [module for module in of(*PRODUCT) if banned & set(module.split("."))]


def test_every_product_module_says_what_it_is_for() -> None:
    silent = [place(module) for module in of(*PRODUCT) if not (ast.get_docstring(tree(FILES[module])) or "").strip()]
    assert not silent, silent


def test_every_module_and_name_cited_in_a_comment_exists() -> None:
    """`shards.reading.stream` and `vpd.tasks.Task`, in backticks, lead somewhere."""
    cited = re.compile(rf"`((?:{'|'.join(MAY_IMPORT)})(?:\.\w+)+)`")
    dead = [
        f"{place(module)}:{line}: {name}"
        for module in FILES
        for line, text in enumerate(FILES[module].read_text().splitlines(), 1)
        for name in cited.findall(text)
        if not leads_somewhere(name)
    ]
    assert not dead, "\n".join(dead)


def leads_somewhere(name: str) -> bool:
    """Whether it is a module, or a name that its module's text holds."""
    module, rest = name, ""
    while module not in FILES:
        module, _, rest = module.rpartition(".")
        if not module:
            return False
    return not rest or re.search(rf"\b{re.escape(rest)}\b", FILES[module].read_text()) is not None


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("shards", ("torch", "ray", "diffusers")),
        ("shards.reading.reader", ("torch", "ray")),
        ("shards.reading.stream", ("torch", "ray")),
        ("pipeline.sources.refcoco.source", ("torch", "ray", "diffusers", "transformers")),
        ("jobs.train", ("torch", "ray")),
        ("jobs.build_shards", ("torch", "ray")),
        ("vpd.training.loop", ("ray", "transformers")),
        ("diffusion_perception", ("torch", "ray", "diffusers", "transformers", "numpy", "yaml", "vpd", "pipeline")),
        ("diffusion_perception.settings", ("torch", "ray", "diffusers", "transformers")),
        ("diffusion_perception.train_job", ("torch", "ray", "diffusers", "transformers")),
        ("diffusion_perception.building.builder", ("torch", "ray", "diffusers", "transformers")),
        ("diffusion_perception.predicting.predictor", ("ray", "diffusers", "transformers")),
        ("jobs.command_line", ("torch", "ray", "diffusers", "transformers")),
        ("jobs.train", ("torch", "diffusers", "transformers")),
        ("jobs.check", ("torch", "ray", "diffusers", "transformers")),
        ("jobs.init", ("torch", "ray", "diffusers", "transformers")),
        ("jobs.evaluate", ("torch", "diffusers", "transformers")),
    ],
)
def test_importing_a_module_loads_nothing_it_does_not_need(module: str, unwanted: tuple[str, ...]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(printed.stdout)
    assert not set(unwanted) & set(loaded), (
        f"`import {module}` loads {sorted(set(unwanted) & set(loaded))}; all it loads outside the standard library: "
        f"{sorted(set(loaded) - sys.stdlib_module_names)}"
    )
