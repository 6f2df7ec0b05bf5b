"""Sets without sentences: an image is one item that owns its views, and what is stored can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.nyuv2_world import write_nyuv2_world
from pipeline.building.ledger import open_build
from pipeline.building.plan import estimate, plan_shards
from pipeline.building.recipe import BuildSettings, recipe_of, schema_of
from pipeline.building.shard import build_shard, finish_set
from pipeline.rendering.geometry import render, to_pixels
from pipeline.sources.nyuv2 import source as nyuv2
from pipeline.views import depth, depth_tiles
from shards.contract.manifest import Manifest
from shards.contract.schema import Field
from shards.geometry.view import View, cut_label
from shards.reading.reader import ShardSet
from tests.pipeline.toys import ToyVae

SETTINGS = BuildSettings(records_per_shard=3, image_batch=4, max_rejects=0.0)
VIEWS = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> nyuv2.Nyuv2Source:
    return nyuv2.build(write_nyuv2_world(tmp_path_factory.mktemp("world"), {"train": 5, "test": 2}), form="mat")


def build_set(folder: Path, source: nyuv2.Nyuv2Source, split: str, plan: Any) -> Manifest:
    vae, planned = ToyVae(), plan_shards(source.keys(split), SETTINGS.records_per_shard, folder.name)
    recipe = recipe_of(source, split, plan, vae, None, SETTINGS)
    open_build(folder, recipe)
    for shard in planned:
        build_shard(shard, source, split, plan, vae, None, folder, SETTINGS)
    return finish_set(planned, source, split, schema_of(source, plan, vae, None, SETTINGS), recipe, folder, SETTINGS)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_is_one_item_and_its_latents_and_label_can_be_made_again(
    tmp_path: Path, source: nyuv2.Nyuv2Source, split: str
) -> None:
    train = depth.build(mode="replay", epochs=VIEWS, crop=120, size=128, cut_depth_probability=0.5)
    plan = train if split == "train" else depth_tiles.build(size=128)
    manifest = build_set(tmp_path / "rooms", source, split, plan)
    n, v = source.counts(split)["images"], plan.views_per_image
    assert manifest.counts == {"records": n, "items": n, "rejects": 0, "view": n * v}
    shards = ShardSet.open(str(tmp_path / "rooms"))
    for number, key in enumerate(source.keys(split)):
        record, example = shards.record(number), source.load(split, key)
        assert record.meta["items"] == [[0, v]]
        views = [View.from_json(view) for view in record.meta["views"]]
        assert views == plan.views(key, *example.image.shape[:2])
        pixels = to_pixels([render(example.image, view, example.labels) for view in views], plan.size_px)
        np.testing.assert_array_equal(record.array("latent"), ToyVae().encode(pixels)["latent"])
        depth_m = record.array("depth")
        np.testing.assert_array_equal(depth_m, example.labels["depth"])
        assert cut_label(depth_m, views[0]).shape == (128, 128)


def test_every_view_of_a_replay_set_holds_a_latent_of_its_own(tmp_path: Path, source: nyuv2.Nyuv2Source) -> None:
    build_set(tmp_path / "rooms", source, "train", depth.build(mode="replay", epochs=VIEWS, crop=120, size=128))
    shards = ShardSet.open(str(tmp_path / "rooms"))
    for number in range(shards.n_records):
        latents = shards.record(number).array("latent")  # [V, 4, h, w]
        assert len({latent.tobytes() for latent in latents}) == len(latents) == VIEWS


def test_the_estimate_counts_what_a_build_writes(tmp_path: Path, source: nyuv2.Nyuv2Source) -> None:
    plan = depth.build(mode="k", k=2, crop=120, size=128)
    manifest = build_set(tmp_path / "rooms", source, "train", plan)
    size = estimate(
        source.counts("train"),
        view_fields=ToyVae().fields(plan.size_px),
        view_size_px=plan.size_px,
        views_per_image=plan.views_per_image,
        records_per_shard=SETTINGS.records_per_shard,
    )
    assert (size.records, size.items, size.views, size.shards) == (
        manifest.counts["records"],
        manifest.counts["items"],
        manifest.counts["view"],
        len(manifest.shards),
    )


def test_the_estimate_of_nyuv2_replay_is_the_published_arithmetic() -> None:
    plan = depth.build(mode="replay", epochs=25)
    size = estimate(
        {"images": nyuv2.PUBLISHED["folders"]["train"]},
        view_fields=[Field("latent", "npy", "float16", ("V", 4, 64, 64), "view")],
        view_size_px=plan.size_px,
        views_per_image=plan.views_per_image,
    )
    assert (size.items, size.views) == (24_231, 605_775)
    assert size.latent_bytes == 24_231 * 25 * 32_768
    assert size.total_bytes == pytest.approx(20e9, rel=0.05)
    assert "24,231 items, 605,775 views" in size.lines()[0]
