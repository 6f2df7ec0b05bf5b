"""A plug-in from outside is found where no parent package is imported, in a folder without `__init__.py` too."""

from __future__ import annotations

import gc
import importlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffusion_perception.settings import modules, source_text


@pytest.mark.parametrize("regular", [True, False], ids=["packages", "plain folders"])
def test_a_module_is_found_below_folders_that_nobody_imported(
    regular: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "outside_parts" / "sources"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("def build(folder: str) -> object: ...\n")
    if regular:
        (folder / "__init__.py").touch()
        (folder.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    found = source_text.spec_of("outside_parts.sources.mine")

    assert found is not None
    assert found.origin == str(folder / "mine.py")
    assert source_text.defines_build("outside_parts.sources.mine")
    assert source_text.spec_of("outside_parts.sources.yours") is None
    assert not any(name.startswith("outside_parts") for name in sys.modules)


def test_a_module_that_was_edited_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for text, builds in (("x = 1\n", False), ("def build() -> object: ...\n", True), ("x = 2\n", False)):
        (tmp_path / "edited_part.py").write_text(text)
        importlib.invalidate_caches()
        assert source_text.defines_build("edited_part") is builds


def test_threads_read_modules_at_the_same_time() -> None:
    """An encoder actor builds two shards at once; CPython 3.11's own parser does not bear that."""

    def let_others_run(*_: object) -> None:
        time.sleep(1e-5)

    names = ["vpd.tasks.depth.task", "pipeline.sources.image_folders", "pipeline.views.depth", "vpd.tasks.seg.task"]
    thresholds = gc.get_threshold()
    gc.callbacks.append(let_others_run)  # collections fall into a parse, and then another thread has its turn
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(source_text.of_module, names * 2))
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(let_others_run)
    assert all(signature is not None and signature.options for signature in found)


def test_one_plugin_is_found_without_reading_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = source_text.defines_build
    monkeypatch.setattr(source_text, "defines_build", lambda module: read.append(module) or plain(module))
    assert modules.module_name("pipeline.views", {"name": "depth"}, "views") == "pipeline.views.depth"
    assert read == ["pipeline.views.depth"]
