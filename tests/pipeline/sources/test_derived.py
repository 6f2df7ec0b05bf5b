"""A source derived from one of this project's stays itself in the processes of a build."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources.kitti import KittiSource
from tests.pipeline.sources import option_worlds as worlds
from tests.pipeline.sources.test_identities import CASES


class Sharper(KittiSource):
    """As somebody's own plug-in may be: with a constructor of its own."""

    def __init__(self, root: Path, *, lists: dict[str, str], strength: float, depths: Sequence[str] = ("",)) -> None:
        super().__init__(root, lists, "", depths)
        self.strength = strength

    def identity(self, split: str) -> dict[str, Any]:
        return {**super().identity(split), "strength": self.strength}


def test_a_constructor_of_its_own_is_called_again(tmp_path: Path) -> None:
    worlds.kitti(tmp_path)
    source = Sharper(tmp_path, lists={"train": "filenames/eigen_benchmark/train_list.txt"}, strength=2.5)
    source.keys("train")  # what was read does not travel
    copy = pickle.loads(pickle.dumps(source))
    assert (type(copy), copy._read) == (Sharper, {})
    assert copy.identity("train") == source.identity("train")
    assert copy.identity("train")["strength"] == 2.5


@pytest.mark.parametrize("source", CASES)
def test_a_derived_source_is_not_taken_for_its_base(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, needed, _ = CASES[source]
    write(tmp_path)
    made: Any = importlib.import_module(f"pipeline.sources.{source}").build(tmp_path, **needed)
    derived = type("Derived", (type(made),), {"__module__": __name__, "__qualname__": "_derived"})
    monkeypatch.setitem(globals(), "_derived", derived)
    made.__class__ = derived
    copy = pickle.loads(pickle.dumps(made))
    assert type(copy) is derived
    assert copy.splits == made.splits
    assert copy.identity(made.splits[0]) == made.identity(made.splits[0])
