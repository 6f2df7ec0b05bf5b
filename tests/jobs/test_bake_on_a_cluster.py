"""A bake, and label latents, by workers of a cluster are the bytes of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from on_cluster import Driver
from PIL import Image

from jobs import features, label_latents
from pipeline.encoders.sd_vae import decoder
from shards.upkeep.splitting import split_set
from tests.diffusion_perception.label_latents.depth_rooms import MODEL, write_rooms
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import write_set


@pytest.mark.cluster
def test_workers_of_a_cluster_bake_the_bytes_of_one_process(driver: Driver, tmp_path: Path) -> None:
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained(tmp_path / "model")
    _, weights = decoder(str(tmp_path / "model"))
    write_set(tmp_path / "whole", "seg", weights=weights)
    split_set(tmp_path / "whole", tmp_path, {"scenes": 1.0}, records_per_shard=2)
    words = [f"model={tmp_path}/model", f"set={tmp_path}/scenes", "layers=[up_blocks.2]", "device=cpu"]
    words += ["pca=4", "pca_records=3"]  # fitted by the first worker, read by the others
    features.run([*words, f"out={tmp_path}/here/baked"])
    said = driver.run("jobs.features", *words, "workers=2", f"out={tmp_path}/there/baked")
    assert "3 of 3 shards to bake" in said
    assert _files(tmp_path, "here") == _files(tmp_path, "there")


@pytest.mark.cluster
def test_workers_of_a_cluster_build_and_bake_pictures_to_the_bytes_of_one_process(
    driver: Driver, tmp_path: Path
) -> None:
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained(tmp_path / "model")
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        Image.fromarray(draw.integers(0, 256, (48, 80, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    words = [f"model={tmp_path}/model", f"pictures={tmp_path}/photos", "layers=[up_blocks.2]", "device=cpu"]
    words += ["latents.views={name: exact, size: 64}", "latents.build.records_per_shard=2"]
    features.run([*words, f"out={tmp_path}/here/baked"])
    threads = f"cpus_per_worker={torch.get_num_threads()}"
    said = driver.run("jobs.features", *words, "workers=1", threads, f"out={tmp_path}/there/baked")
    assert "2 of 2 shards to bake" in said
    assert _files(tmp_path, "here") == _files(tmp_path, "there")


@pytest.mark.cluster
def test_two_workers_of_a_cluster_make_the_label_latents_of_one_process(driver: Driver, tmp_path: Path) -> None:
    write_rooms(tmp_path / "rooms")
    words = [f"model={MODEL}", f"set={tmp_path}/rooms", "batch_size=4", "device=cpu"]
    label_latents.run([*words, f"out={tmp_path}/here/baked"])
    said = driver.run("jobs.label_latents", *words, "workers=2", f"out={tmp_path}/there/baked")
    assert "2 of 2 shards to bake" in said
    assert len(_files(tmp_path, "here")) > 4
    assert _files(tmp_path, "here") == _files(tmp_path, "there")


def _files(root: Path, place: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (root / place / "baked").rglob("*") if file.is_file()}
