"""A builder asserts before it writes that it would make what its driver asks for, and that the driver holds the set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception import plugins
from diffusion_perception.building.assignment import Assignment, check_source
from diffusion_perception.building.builder import BuildJob, ShardBuilder
from diffusion_perception.settings import bind
from pipeline.building.lease import Lease
from pipeline.building.plan import PlannedShard, plan_shards
from pipeline.building.transaction import SetBuild
from shards.errors import BeingBuilt, ConfigError, FingerprintMismatch
from shards.storage.storage import open_folder
from tests.pipeline.tiny_model import write_model
from tests.pipeline.toys import digests


def write_segmentation(root: Path, pictures: int = 4) -> None:
    for number in range(pictures):
        for side, pixels in (("images", np.full((8, 8, 3), number * 9)), ("labels", np.full((8, 8), number % 2))):
            (root / side / "train").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / side / "train" / f"{number}.png")


def builder(world: Path, model: Path, out: Path, **more: Any) -> ShardBuilder:
    source = {"name": "image_folders", "root": str(world), "classes": ["sound", "crack"], "splits": ["train"]}
    image = {"name": "sd_vae", "model": str(model)}
    views, settings = {"name": "exact", "size": 32}, {"records_per_shard": 2, "image_batch": 2}
    job = {"name": "toy", "source": source, "splits": ["train"], "views": views, "image": image, "out": str(out)}
    return ShardBuilder(bind(BuildJob, {**job, "settings": settings, **more}))


@pytest.fixture
def begun(tmp_path: Path, tiny: Path) -> tuple[ShardBuilder, Assignment, list[PlannedShard]]:
    write_segmentation(tmp_path / "world")
    mine = builder(tmp_path / "world", tiny, tmp_path / "out")
    told, folder = mine.describe("train"), tmp_path / "out" / "toy-train"
    planned = plan_shards(mine.source.keys("train"), 2, folder.name)
    views = plugins.build_views(mine.job.view_spec("train"), "views")
    order = SetBuild(folder, planned, mine.source, "train", views, told.recipe, told.environment).order
    return mine, Assignment("train", str(folder), order, told.recipe, told.environment), planned


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-sd")
    write_model(folder, seed=0)
    return folder


Begun = tuple[ShardBuilder, Assignment, list[PlannedShard]]


def test_other_weights_are_refused_before_anything_is_written(begun: Begun, tmp_path: Path) -> None:
    """As of an actor on another node, or of one that was started again after the weights were replaced."""
    _, work, planned = begun
    write_model(tmp_path / "other", seed=1)
    before = digests(tmp_path / "out")
    with pytest.raises(
        FingerprintMismatch, match=r"(?s)would build something else.*\n  recipe\.image_encoder\.weights: "
    ) as e:
        builder(tmp_path / "world", tmp_path / "other", tmp_path / "out").build(work, planned[0])
    assert "It has written nothing" in str(e.value)
    assert digests(tmp_path / "out") == before


def test_other_files_are_refused(begun: Begun, tmp_path: Path, tiny: Path) -> None:
    mine, work, planned = begun
    write_segmentation(tmp_path / "elsewhere", pictures=5)
    other = builder(tmp_path / "elsewhere", tiny, tmp_path / "out")
    with pytest.raises(FingerprintMismatch, match=r"recipe\.source\.pairs: 5 here"):
        other.build(work, planned[0])
    with pytest.raises(FingerprintMismatch, match=r"(?s)the worker's source is not the driver's.*\n  names_and_sizes"):
        check_source(other.describe("train"), mine.source, "train")


def test_another_environment_is_refused_unless_it_is_allowed(begun: Begun) -> None:
    mine, work, planned = begun
    other = replace(work, environment={**work.environment, "machine": "abacus"})
    with pytest.raises(FingerprintMismatch, match=r"environment\.machine: .* here, 'abacus' in what the driver asks"):
        mine.build(other, planned[0])
    assert mine.build(replace(other, allow_changed=True), planned[0]) == (2, 0)


def test_a_worker_that_sees_another_folder_or_another_driver_does_not_write(begun: Begun) -> None:
    mine, work, planned = begun
    with pytest.raises(ConfigError, match=r"is another place on .* than where the driver runs"):
        mine.build(replace(work, token="driver"), planned[0])
    with Lease(open_folder(work.folder)) as lease:
        with pytest.raises(BeingBuilt, match="this worker stops"):
            mine.build(replace(work, token="a driver that was overtaken"), planned[0])
        assert mine.build(replace(work, token=lease.token), planned[0]) == (2, 0)


def test_the_next_shard_is_decoded_while_one_is_encoded(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, work, planned = begun
    encoding, decoded, go_on = threading.Event(), threading.Event(), threading.Event()
    image: Any = mine.image
    encode, load = image.encode_levels, type(mine.source).load

    def waiting(levels: Any) -> Any:
        encoding.set()
        assert go_on.wait(20)
        return encode(levels)

    def noting(source: Any, split: str, key: str) -> Any:
        if key in planned[1].keys:
            decoded.set()
        return load(source, split, key)

    monkeypatch.setattr(image, "encode_levels", waiting)
    monkeypatch.setattr(type(mine.source), "load", noting)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(mine.build, work, planned[0])
        assert encoding.wait(20)
        second = pool.submit(mine.build, work, planned[1])
        was_decoded = decoded.wait(5)
        go_on.set()
        assert (first.result(), second.result()) == ((2, 0), (2, 0))
    assert was_decoded, "it waited for its turn at the encoder before it decoded"


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Of torch, as where nobody has set them yet."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_both_encoders_have_the_threads_of_their_actor_whichever_is_made_first(tmp_path: Path, tiny: Path) -> None:
    """With a table of prompts a driver's builder makes the text encoder first, one that builds at once the other."""
    write_segmentation(tmp_path / "world")
    more = {
        "text": {"name": "clip_text", "model": str(tiny), "length": 12},
        "prompts": {"templates": ["a {}"]},
        "resources": {"cpus_per_actor": 1},
    }
    mine = builder(tmp_path / "world", tiny, tmp_path / "out", **more)
    found = mine.describe("train").environment["encoders"]
    assert (found["image"]["threads"], found["text"]["threads"]) == (1, 1)
