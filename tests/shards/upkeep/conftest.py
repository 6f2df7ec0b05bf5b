"""What the tools' tests share: quick retries, a private staging folder, and places that look like a store."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from shards.storage import staging, store
from shards.storage.retry import Retry
from shards.storage.storage import Folder, open_folder


@pytest.fixture(autouse=True)
def _private_and_quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "RETRY", Retry(2, 0.001, 0.01))
    monkeypatch.setattr(staging, "staging_root", lambda: tmp_path / "staging")


@pytest.fixture
def toy_root(either_root: Path) -> Path:
    """Of the toy set in both forms."""
    return either_root


@pytest.fixture(params=["folder", "store"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Folder]:
    """An empty place by its name: a folder, or a URL of fsspec's in-memory file system."""
    bucket = uuid.uuid4().hex
    root = f"memory://{bucket}" if request.param == "store" else str(tmp_path / "places")
    return lambda name: open_folder(f"{root}/{name}")
