"""Ray Data reads the records of every kind of set, as the other readers of `test_peers` do. `make peers` runs it: a
cluster for it alone would cost every run of the tests half a minute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_peers import same

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ray_data() -> Iterator[Any]:
    if not os.environ.get("DIFFUSION_PERCEPTION_PEERS"):
        pytest.skip("Ray Data reads sets in `make peers`")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # of a cluster of this machine alone
    os.environ.setdefault("RAY_worker_niceness", "0")  # on a busy machine workers would get next to nothing
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield data
    ray.shutdown()


def test_ray_data_reads_every_kind_of_set(ray_data: Any, set_folders: dict[str, Path]) -> None:
    for folder in set_folders.values():
        tars = sorted(map(str, folder.glob("*.tar")))
        rows = ray_data.read_webdataset(tars, decoder=None).take_all()
        same(folder, ((text(row["__key__"]), row) for row in rows))


def text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)
