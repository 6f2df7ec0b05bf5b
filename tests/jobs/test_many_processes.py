"""What several processes make of one job: the same bytes and numbers on any number of them, and after any was killed.

The head and its driver are those of `conftest`; the words of a command line are `test_on_a_cluster`'s.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import several_workers
from on_cluster import Driver, files, processes_of, succeeded, wait_for
from PIL import Image
from short_runs import written
from toy_jobs import build_here, build_settings, losses_of, train_here, train_settings

from demo.ray_head import RayHead
from pipeline.building.lease import Lease
from shards.errors import BeingBuilt, ContractError
from shards.reading.reader import ShardSet
from shards.storage.storage import open_folder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]  # two Ray heads can share two cores
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole_build(world: Path, tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a build that has been done in this process, in whose middle there would be time to be killed."""
    settings = build_settings(
        world, tiny_sd, tmp_path_factory.mktemp("whole"), splits=["train"], resources={"cpus_per_actor": 1},
        source=_slow(world, 0),
        settings={"records_per_shard": 4, "image_batch": 2, "decode_threads": 1, "decode_ahead": 1},
    )  # fmt: skip
    build_here(settings)
    return settings


def _slow(world: Path, seconds: float) -> dict[str, Any]:
    """The world's source, taking its time for each picture."""
    return {"name": "tests.jobs.slow_refcoco", "root": str(world), "seconds": seconds}


def test_two_actors_write_the_same_bytes_as_one_process(
    driver: Driver, whole_build: dict[str, Any], tmp_path: Path
) -> None:
    """One actor does so, too: that of the build below, after it was killed."""
    settings = {**whole_build, "out": str(tmp_path / "two"), "resources": {"actors": 2, "cpus_per_actor": 1}}
    driver.run("jobs.build_shards", "--config", written(tmp_path / "two.yaml", settings))
    found = files(tmp_path / "two")
    assert found == files(Path(whole_build["out"]))
    assert sum(name.endswith(".tar") for name in found) == 4


def test_a_build_killed_twice_and_rerun_gives_the_same_bytes(
    head: RayHead, driver: Driver, whole_build: dict[str, Any], world: Path, tmp_path: Path
) -> None:
    """SIGKILL to the encoder actor in the middle of a shard, then to the driver, then the same command again."""
    settings = {**whole_build, "source": _slow(world, 0.4), "out": str(tmp_path / "killed")}
    slow = written(tmp_path / "killed.yaml", settings)
    done = tmp_path / "killed" / "tiny-train" / "_build"
    command = [sys.executable, "jobs/build_shards.py", "--config", slow]
    env = {**head.env, "RAY_ADDRESS": head.address, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: (done / "tiny-train-000000.json").exists())
    (actor,) = processes_of(head, "ray::EncoderActor")
    # of another cluster, or with too little of this one: refused before it looks at the cluster's free resources
    with pytest.raises(BeingBuilt, match=f"process {killed.pid} on .*, since 20"):
        Lease(open_folder(tmp_path / "killed" / "tiny-train")).__enter__()
    actor.kill()
    wait_for(lambda: (done / "tiny-train-000001.json").exists())  # built by the actor that came after it
    killed.kill()
    killed.wait()
    assert not (tmp_path / "killed/tiny-train/manifest.json").exists()
    kept = (tmp_path / "killed/tiny-train/tiny-train-000000.tar").stat().st_mtime_ns

    again = driver.run("jobs.build_shards", "--config", slow)
    assert f"took over from process {killed.pid}" in again
    assert "a build goes on" in again
    assert (tmp_path / "killed/tiny-train/tiny-train-000000.tar").stat().st_mtime_ns == kept
    assert files(tmp_path / "killed") == files(Path(whole_build["out"]))


def test_a_shard_that_fails_does_not_stop_the_others(
    driver: Driver, whole_build: dict[str, Any], world: Path, tmp_path: Path
) -> None:
    """The source refuses one picture with an error that is no reject; then it is mended."""
    broken = {**_slow(world, 0), "broken": "4"}
    settings = {**whole_build, "source": broken, "out": str(tmp_path / "failed")}
    folder = tmp_path / "failed" / "tiny-train"
    with pytest.raises(
        ContractError, match=r"1 of 4 shards could not be built:\n  tiny-train-000001: SourceError: .*"
    ) as e:
        driver.run("jobs.build_shards", "--config", written(tmp_path / "failed.yaml", settings))
    assert "give the same command again" in str(e.value)
    assert sorted(path.stem[-1] for path in folder.glob("*.tar")) == ["0", "2", "3"]
    assert (folder / "rejects.jsonl").exists()
    mended = {**settings, "source": _slow(world, 0)}
    driver.run("jobs.build_shards", "--config", written(tmp_path / "mended.yaml", mended))
    assert files(tmp_path / "failed") == files(Path(whole_build["out"]))
    edited = driver.run("jobs.build_shards", "--config", written(tmp_path / "again.yaml", mended))
    assert "nothing to do" in edited


def test_a_training_worker_killed_by_sigkill_resumes_to_the_same_losses(
    head: RayHead, driver: Driver, sets: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    """Those of two workers whom nothing happens to, without Ray."""
    over = {"run.workers": 2, "loop.steps": 16, "loop.save_every_steps": 4, "data.val": ""}
    whole, disturbed = (
        train_settings(sets, tiny_sd, tmp_path, over={**over, "run.name": name}) for name in ("whole", "killed")
    )
    several_workers.train(whole, tmp_path / "meeting")
    killed = driver.start("jobs.train", "--config", written(tmp_path / "killed.yaml", disturbed))
    wait_for(lambda: (tmp_path / "killed" / "step-000000004" / "checkpoint.json").exists(), timeout_s=300)
    workers = processes_of(head, "RayTrainWorker")
    assert len(workers) == 2
    workers[1].kill()
    output = killed.result()
    assert "lost a worker" in output
    assert re.search(r"resumed from .*step-0000000(04|08|12)", output)
    assert losses_of(tmp_path / "killed") == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-5)


def test_evaluation_is_the_same_on_any_number_of_workers_and_predicts(
    head: RayHead, driver: Driver, sets: Path, tiny_sd: Path, world: Path, tmp_path: Path
) -> None:
    train_here(train_settings(sets, tiny_sd, tmp_path, over={"loop.steps": 2, "data.val": ""}))
    results = []
    for workers in (0, 1, 2):
        out = tmp_path / f"{workers}.json"
        words = (f"run={tmp_path}/run", f"workers={workers}", f"out={out}", f"sets=[{sets}/tiny-train,{sets}/tiny-val]")
        if workers == 1:
            output = succeeded(head.submit("--", "jobs/evaluate.py", *words))
        else:
            output = driver.run("jobs.evaluate", *words)
        results.append(json.loads(out.read_text())["sets"])
        assert "tiny-train" in output
    assert results[0].keys() == {"tiny-train", "tiny-val"}
    for name, metrics in results[0].items():
        for others in results[1:]:
            assert others[name] == pytest.approx(metrics, abs=1e-6)
        assert metrics["samples"] == ShardSet.open(sets / name).manifest.counts["sentence"]

    photo = next((world / "images/mscoco/images/train2014").iterdir())
    words = [f"run={tmp_path}/run", f"image={photo}", "sentence=the red circle", f"out={tmp_path}/overlay.png"]
    subprocess.run([sys.executable, "jobs/predict.py", *words], cwd=ROOT, check=True)

    with Image.open(photo) as original, Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.width == original.width
        assert overlay.height > original.height, "the legend lies below the picture"
