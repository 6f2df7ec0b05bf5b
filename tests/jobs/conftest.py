"""A small rendered RefCOCO, sets built from it, and a real Ray head started in a copy of the repository.

One head, and one driver of it, serve every test that needs a cluster.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from on_cluster import SOON, Driver
from toy_jobs import build_here, build_settings

from demo.ray_head import RayHead
from demo.refcoco_world import write_refcoco_world
from diffusion_perception.settings import read_file
from tests.side_by_side import goes_on_with_cluster

CLUSTER = pytest.StashKey[ExitStack]()
ROOT = Path(__file__).resolve().parents[2]
MODEL = "models--stable-diffusion-v1-5--stable-diffusion-v1-5"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 train and 5 val pictures in the official RefCOCO layout."""
    root = tmp_path_factory.mktemp("data") / "refer"
    write_refcoco_world(root, images={"train": 14, "val": 5, "testA": 3, "testB": 3}, seed=3)
    return root


@pytest.fixture(scope="session")
def sets(world: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-train and tiny-val with sentence states."""
    out = tmp_path_factory.mktemp("sets")
    build_here(build_settings(world, tiny_sd, out))
    return out


@pytest.fixture(scope="session")
def token_sets(world: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with token ids only."""
    out = tmp_path_factory.mktemp("token-sets")
    settings = {"records_per_shard": 6, "image_batch": 4, "text": "tokens"}
    build_here(build_settings(world, tiny_sd, out, settings=settings))
    return out


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree with data at the default place: few pictures, since defaults encode 512 x 512."""
    copy = tmp_path_factory.mktemp("copy") / "repo"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for name in listed:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    write_refcoco_world(copy / "data/refer", images={"train": 4, "val": 2, "testA": 1, "testB": 1}, seed=3)
    return copy


@pytest.fixture(scope="session")
def hub(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub cache in which the default model id, at its pinned revision, is the tiny model."""
    revision = read_file(ROOT / "configs/train/refer.yaml")["backbone"]["revision"]
    snapshot = tmp_path_factory.mktemp("hub") / "hub" / MODEL / "snapshots" / revision
    shutil.copytree(tiny_sd, snapshot)
    return snapshot.parents[3]


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[ExitStack]:
    """What ends with the last test of the cluster: an idle head takes a fifth of a core from all that follow."""
    with ExitStack() as stack:
        pytestconfig.stash[CLUSTER] = stack
        yield stack


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if CLUSTER in item.config.stash and not goes_on_with_cluster(nextitem):
        item.config.stash[CLUSTER].close()


@pytest.fixture(scope="session")
def head(repository: Path, hub: Path, cluster: ExitStack) -> RayHead:
    env = {
        "HF_HOME": str(hub),
        "HF_HUB_OFFLINE": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "RAY_worker_niceness": "0",  # Ray's 15 starves a worker where anything else runs on the machine
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody preempts here; one process less a run
        **SOON,
    }
    return cluster.enter_context(RayHead(repository, num_cpus=4, env=env))


@pytest.fixture(scope="session")
def driver(head: RayHead, cluster: ExitStack) -> Driver:
    """Runs jobs on the head: their workers are placed as a submitted job's are."""
    return cluster.enter_context(closing(Driver(head)))
