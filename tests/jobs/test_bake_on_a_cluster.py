"""A bake by workers of a cluster gives the bytes of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_cluster import Driver

from jobs import features
from pipeline.encoders.sd_vae import decoder
from shards.upkeep.splitting import split_set
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
    here, there = (
        {file.name: file.read_bytes() for file in (tmp_path / place / "baked").rglob("*") if file.is_file()}
        for place in ("here", "there")
    )
    assert here == there
