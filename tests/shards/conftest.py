"""The toy set as fixtures: one written once and only read, and a private copy for tests that damage it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shards.reading.reader import ShardSet
from tests.shards.toy_set import write_in_pages, write_toy_set


@pytest.fixture(scope="session")
def listed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the toy set, whose manifest lists its shards; read only."""
    root = tmp_path_factory.mktemp("sets") / "toy"
    write_toy_set(root)
    return root


@pytest.fixture(scope="session")
def toy_root(listed_root: Path) -> Path:
    """The same; a file that tests both forms overrides it by `either_root`."""
    return listed_root


@pytest.fixture(scope="session")
def paged_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same set as a large one is written; read only."""
    root = tmp_path_factory.mktemp("paged") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        write_in_pages(patch)
        write_toy_set(root)
    return root


@pytest.fixture(params=["listed", "paged"])
def either_root(request: pytest.FixtureRequest, listed_root: Path, paged_root: Path) -> Path:
    """Folder of the toy set, whose shards the manifest lists, or pages beside it do; then new sets have such pages."""
    if request.param == "listed":
        return listed_root
    request.getfixturevalue("small_is_large")
    return paged_root


@pytest.fixture(params=["listed", "paged"])
def in_either_form(request: pytest.FixtureRequest) -> None:
    """Sets are written as ever, or as large ones are."""
    if request.param == "paged":
        request.getfixturevalue("small_is_large")


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set is written as a large one, in pages of two shards."""
    write_in_pages(monkeypatch)


@pytest.fixture
def toy(toy_root: Path) -> ShardSet:
    """The toy set, opened."""
    return ShardSet.open(toy_root)


@pytest.fixture
def damaged(toy_root: Path, tmp_path: Path) -> Path:
    """A copy of the toy set to damage."""
    return Path(shutil.copytree(toy_root, tmp_path / "toy"))
