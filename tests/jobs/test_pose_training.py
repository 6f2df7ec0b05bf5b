"""Pose training in one process: latents encoded online are those of the drawn views, and prompts must be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_jobs import build_here

from diffusion_perception.assembly.run import build_parts
from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from shards.errors import ConfigError
from tests.pipeline.sources.coco_miniature import write_coco
from vpd.model.device_batch import PIXELS
from vpd.training.feeding import open_stream
from vpd.training.worker import Worker


@pytest.fixture(scope="module")
def coco(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a training run on a made-up COCO folder that has been built."""
    folder = tmp_path_factory.mktemp("coco")
    source = {"name": "coco_keypoints", "root": str(write_coco(folder / "coco"))}
    views = {"name": "persons", "mode": "k", "k": 2, "size": [128, 64]}
    image = {"name": "sd_vae", "model": str(tiny_sd)}
    build_here(
        {
            "name": "coco", "source": source, "splits": ["train2017"], "views": views, "image": image, "text": None,
            "out": str(folder), "settings": {"image_batch": 4},
        }
    )  # fmt: skip
    return {
        "run": {"name": "run", "out": str(folder)},
        "task": {"name": "pose"},
        "backbone": {"name": "sd_unet", "model": str(tiny_sd), "attention_maps": "", "timestep": None},
        "data": {"train": str(folder / "coco-train2017"), "batch_size": 3, "latents": "online", "source": source},
        "model": {"prompts": {"count": 17}, "head": {"width": 32}},
        "loop": {"steps": 2},
    }


def test_latents_encoded_online_are_those_of_the_drawn_views(coco: dict[str, Any]) -> None:
    job = bind(TrainJob, coco)
    parts = build_parts(job, torch.device("cpu"))
    assert parts.encoders.latents is not None
    seen = set()
    for batch in open_stream(job.training, parts, Worker(), 0, 2):  # two epochs of three persons: both views of each
        online = parts.encoders.latents(torch.from_numpy(np.array(batch.arrays[PIXELS]))).numpy()
        np.testing.assert_allclose(online, batch.arrays["latent"], atol=2e-2)
        seen.update(latent.tobytes() for latent in batch.arrays["latent"])
    assert len(seen) == 6


def test_without_prompts_training_says_what_to_set(coco: dict[str, Any]) -> None:
    job = bind(TrainJob, {**coco, "model": {}})
    with pytest.raises(ConfigError, match=r"set model\.prompts\.count=17"):
        build_parts(job, torch.device("cpu"))
