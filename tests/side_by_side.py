"""Two processes of tests side by side: which files they take, in which order.

All that needs a cluster stays in one process, so that one Ray head serves it: a second costs as much memory, and in the
background a fifth of a core. It begins at once, since it is the longest; the other process begins with the longest
files that are left, so that none of them is run alone at the end.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

ROOT = Path(__file__).resolve().parent.parent
ON_A_CLUSTER = "on a cluster"
LONG = (
    "tests/test_gpu_rehearsal.py",
    "tests/jobs/test_one_fault.py",
    "tests/jobs/test_real_samples.py",
    "tests/vpd/model/test_depth_model.py",
    "tests/jobs/test_training.py",
    "tests/jobs/test_own_folders.py",
    "tests/jobs/test_real_pose.py",
    "tests/test_wheel.py",
)


class OneHead(LoadFileScheduling):
    """A file is run by one process, and all files with a test that needs a cluster by the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return ON_A_CLUSTER if needs_cluster(file) else file


def ordered(items: list[pytest.Item]) -> None:
    """The cluster's tests first, then the long files, then the others as they were."""
    items.sort(key=lambda item: _rank(file_of(item)))


def _rank(file: str) -> int:
    if needs_cluster(file):
        return -1
    return LONG.index(file) if file in LONG else len(LONG)


def file_of(item: pytest.Item) -> str:
    return item.nodeid.split("::", 1)[0]


def end_after_a_crash(node: Any, error: object) -> None:
    """A process of tests that has crashed ends the run: xdist begins another one, and then waits for ever."""
    if error:
        node.config.pluginmanager.getplugin("dsession").shouldstop = "a process of tests has crashed, see above"


def goes_on_with_cluster(nextitem: pytest.Item | None) -> bool:
    """Whether the cluster is still needed: by the next test, or by another one of its file."""
    if nextitem is None:
        return False
    return nextitem.get_closest_marker("cluster") is not None or needs_cluster(file_of(nextitem))


@cache
def needs_cluster(file: str) -> bool:
    """Whether a file of tests, named from the root of the repository, has one that needs a cluster."""
    return "mark.cluster" in (ROOT / file).read_text(encoding="utf-8")
