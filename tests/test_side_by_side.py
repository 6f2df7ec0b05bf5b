"""Which process takes which file of tests: all of the cluster together, what takes long before what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.side_by_side import LONG, ROOT, OneHead, end_after_a_crash, goes_on_with_cluster, ordered

CLUSTER = (
    "tests/jobs/test_many_processes.py",
    "tests/jobs/test_on_a_cluster.py",
    "tests/jobs/test_spread_prediction.py",
)


def scope(file: str) -> str:
    return OneHead.__new__(OneHead)._split_scope(f"{file}::test_x[a::b]")


def test_the_files_that_need_a_cluster_are_run_by_one_process_and_others_each_alone() -> None:
    assert len({scope(file) for file in CLUSTER}) == 1
    assert {scope(file) for file in LONG} == set(LONG)


@pytest.mark.parametrize(("error", "ended"), [("Not properly terminated", True), (None, False)])
def test_a_process_that_crashes_ends_the_run(error: str | None, ended: bool) -> None:
    session = SimpleNamespace(shouldstop=False)  # of xdist, which looks at it in its loop
    plugins = SimpleNamespace(getplugin={"dsession": session}.get)
    end_after_a_crash(SimpleNamespace(config=SimpleNamespace(pluginmanager=plugins)), error)
    assert bool(session.shouldstop) is ended


def test_the_cluster_begins_and_long_files_follow() -> None:
    names = ["tests/test_docs.py", LONG[1], CLUSTER[1], "tests/test_citations.py", LONG[0]]
    items = [SimpleNamespace(nodeid=f"{name}::test_x") for name in names]
    ordered(items)  # type: ignore[arg-type]
    found = [item.nodeid.split("::")[0] for item in items]
    assert found == [CLUSTER[1], LONG[0], LONG[1], "tests/test_docs.py", "tests/test_citations.py"]


def test_the_cluster_ends_with_the_last_file_that_has_tests_of_it() -> None:
    def item(file: str, *marks: str) -> Any:
        return SimpleNamespace(
            nodeid=f"{file}::test_x", get_closest_marker=lambda name: name if name in marks else None
        )

    assert goes_on_with_cluster(item(CLUSTER[0]))  # in a file of such tests, one that is none
    assert goes_on_with_cluster(item("tests/test_docs.py", "cluster"))
    assert not goes_on_with_cluster(item("tests/test_docs.py"))
    assert not goes_on_with_cluster(None)


def test_the_long_files_are_there() -> None:
    assert [file for file in LONG if not (ROOT / file).is_file()] == []
