"""A plug-in from outside is found where no parent package is imported, in a folder without `__init__.py` too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from diffusion_perception.settings import source_text


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
