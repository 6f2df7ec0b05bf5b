"""Two machines: one has the accelerator and encodes, the other one decodes and renders for it, and may be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from on_cluster import wait_for
from toy_jobs import build_here

from tests.pipeline.toys import digests

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
PICTURES, PATIENCE_S = 120, 120
DECODING = {"num_cpus": 2, "resources": {"decoding": 2}, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A node with a GPU, as far as Ray knows, and one without."""
    from ray.cluster_utils import Cluster

    noticed_soon: Any = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head: dict[str, Any] = {
        "num_cpus": 1,
        "num_gpus": 1,
        "object_store_memory": 100_000_000,
        "include_dashboard": False,
    }
    head["_system_config"] = noticed_soon
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield started
    finally:
        started.shutdown()


@pytest.fixture
def decoding_node(nodes: Any) -> Iterator[list[Any]]:
    """The one without, to be exchanged for another."""
    here = [nodes.add_node(**DECODING)]
    yield here
    nodes.remove_node(here[0])


def settings(folder: Path, workers: int, seconds: float) -> dict[str, Any]:
    told = folder / "told"
    told.mkdir(parents=True)
    resources = {"cpus_per_actor": 1, "render_workers": workers, "render_resources": {"decoding": 1}}
    return {
        "name": "many",
        "source": {"name": "tests.jobs.told_pictures", "told": str(told), "pictures": PICTURES, "seconds": seconds},
        "splits": ["train"],
        "views": {"name": "exact", "size": 32},
        "image": {"name": "tests.jobs.plain_encoder"},
        "out": str(folder / "out"),
        "settings": {"records_per_shard": 32, "image_batch": 4, "decode_ahead": 8, "max_rejects": 0.2},
        "resources": resources,
    }


def begun(folder: Path, job: dict[str, Any], nodes: Any) -> subprocess.Popen[str]:
    (folder / "build.yaml").write_text(yaml.safe_dump(job))
    return subprocess.Popen(
        [sys.executable, "jobs/build_shards.py", "--config", str(folder / "build.yaml")],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": nodes.address, "PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(build: subprocess.Popen[str]) -> str:
    try:
        said, _ = build.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        build.kill()
        pytest.fail(f"the build stands still: {build.communicate()[0][-5000:]}")
    assert build.returncode == 0, said[-5000:]
    return said


def renderers(folder: Path) -> dict[str, set[str]]:
    """Keys by the process that rendered them for others."""
    found: dict[str, set[str]] = {}
    for file in (folder / "told").iterdir():
        if "RenderActor" in file.read_text():
            key, _, process = file.name.partition(".")
            found.setdefault(process, set()).add(key)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process builds alone."""
    folder = tmp_path_factory.mktemp("alone")
    build_here(settings(folder, 0, 0.0))
    return digests(folder / "out" / "many-train")


def test_another_machine_renders_every_record_and_the_set_is_the_same(
    nodes: Any, decoding_node: list[Any], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    said = ended(begun(tmp_path, settings(tmp_path, 2, 0.0), nodes))
    assert "plan: 2 render worker(s) of 1 CPU and 1 decoding each decode and render for them" in said
    assert "5 of them rejected" in said
    by = renderers(tmp_path)
    assert len(by) == 2
    assert sum(len(keys) for keys in by.values()) == len(set.union(*by.values())) == PICTURES
    encoded = [file for file in (tmp_path / "told").iterdir() if "EncoderActor" in file.read_text()]
    assert encoded == []
    assert digests(tmp_path / "out" / "many-train") == undisturbed


def test_lost_render_workers_are_replaced_and_their_records_are_rendered_again(
    nodes: Any, decoding_node: list[Any], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    build = begun(tmp_path, settings(tmp_path, 1, 0.05), nodes)
    wait_for(lambda: rendered_by_others(tmp_path, set()) > 10, PATIENCE_S)
    (first,) = renderers(tmp_path)
    os.kill(int(first), signal.SIGKILL)
    wait_for(lambda: rendered_by_others(tmp_path, {first}) > 10, PATIENCE_S)
    nodes.remove_node(decoding_node[0], allow_graceful=False)
    decoding_node[0] = nodes.add_node(**DECODING)
    said = ended(build)
    assert "a render worker was lost; its records are rendered again by others" in said
    by = renderers(tmp_path)
    assert len(by) == 3
    assert all(len(keys) < PICTURES for keys in by.values())
    assert digests(tmp_path / "out" / "many-train") == undisturbed


def rendered_by_others(folder: Path, known: set[str]) -> int:
    return sum(len(keys) for process, keys in renderers(folder).items() if process not in known)
