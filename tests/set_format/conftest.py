"""The sets of `built_sets`, written once and only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.set_format.built_sets import write_sets


@pytest.fixture(scope="session")
def set_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a set by its kind."""
    return write_sets(tmp_path_factory.mktemp("sets"), tmp_path_factory.mktemp("worlds"))
