"""The toy set, and a copy of it in a store."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from jobs import program
from tests.shards.toy_set import write_toy_set


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "toy"
    write_toy_set(root)
    return root


@pytest.fixture
def bucket() -> str:
    """A place in fsspec's in-memory file system that nothing is in."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def remote(toy_root: Path, bucket: str) -> str:
    fsspec.filesystem("memory").put(str(toy_root), f"{bucket.removeprefix('memory:/')}/toy", recursive=True)
    return f"{bucket}/toy"


@pytest.fixture
def ended() -> Callable[..., int]:
    """Runs `set` with some words; the exit status."""
    return lambda *words: program.status("jobs.set", words)
