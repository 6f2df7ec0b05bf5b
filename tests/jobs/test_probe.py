"""A sweep spread over a cluster gives the table that one process gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_cluster import Driver

from jobs import probe
from pipeline.encoders.sd_vae import decoder
from tests.tiny_pipelines import tiny_pipeline
from tests.toy_runs import CLASSES, write_set


@pytest.mark.cluster
def test_trials_on_a_cluster_have_the_rows_of_one_process(driver: Driver, tmp_path: Path) -> None:
    tiny_pipeline("sd15", tmp_path / "words").save_pretrained(tmp_path / "model")
    _, weights = decoder(str(tmp_path / "model"))
    for split in ("train", "val"):
        write_set(tmp_path / split, "seg", weights=weights)
    words = [f"model={tmp_path}/model", f"task={{name: seg, classes: {CLASSES}}}", f"train={tmp_path}/train"]
    words += [f"test={tmp_path}/val", "layers=[up_blocks.2]", "timesteps=[1, 261]", "steps=2", "batch_size=4"]
    words += ["device=cpu"]
    probe.run([*words, f"out={tmp_path}/here"])
    driver.run("jobs.probe", *words, "workers=2", f"out={tmp_path}/there")
    assert (tmp_path / "there" / "table.txt").read_text() == (tmp_path / "here" / "table.txt").read_text()
