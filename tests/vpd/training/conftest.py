"""One small set of depth, for runs of a toy network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_runs import write_set


@pytest.fixture(scope="session")
def depth_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "depth", "depth")
