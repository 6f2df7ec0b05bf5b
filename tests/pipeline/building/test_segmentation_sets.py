"""Segmentation from a source folder to shards, a training stream and a merged evaluation."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from demo.ade20k_world import CLASSES, write_ade20k_world
from pipeline.building.ledger import open_build
from pipeline.building.plan import plan_shards
from pipeline.building.recipe import LABEL_FORMS, BuildSettings, recipe_of, schema_of
from pipeline.building.shard import build_shard, finish_set
from pipeline.rendering.geometry import render, to_pixels
from pipeline.sources import ade20k, image_folders
from pipeline.views import segmentation, segmentation_tiles
from shards.contract.manifest import Manifest
from shards.contract.quick_png import row_runs
from shards.geometry.view import View, cut_label
from shards.reading.order import Order
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from tests.pipeline.toys import ToyVae
from vpd.inference.evaluate import check_count, evaluate
from vpd.tasks.seg import task as seg

SETTINGS = BuildSettings(records_per_shard=3, image_batch=4, max_rejects=0.0)
VIEWS = 3
TRAIN = segmentation.build(mode="replay", epochs=VIEWS, crop=64, base=(256, 64))
TILES = segmentation_tiles.build(crop=64, stride=43, base=(256, 64), ratios=[1.0, 1.5], flip=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    images = {"training": 7, "validation": 5}
    return ade20k.build(write_ade20k_world(tmp_path_factory.mktemp("world"), images, seed=1))


def build_set(folder: Path, source: Any, split: str, plan: Any, settings: BuildSettings = SETTINGS) -> Manifest:
    vae, planned = ToyVae(), plan_shards(source.keys(split), settings.records_per_shard, folder.name)
    recipe = recipe_of(source, split, plan, vae, None, settings)
    open_build(folder, recipe)
    for shard in planned:
        build_shard(shard, source, split, plan, vae, None, folder, settings)
    return finish_set(planned, source, split, schema_of(source, plan, vae, None, settings), recipe, folder, settings)


def pixels_of(payload: Any) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(payload)))


def test_a_replay_set_gives_every_view_once_with_its_own_latent_and_label(tmp_path: Path, source: Any) -> None:
    manifest = build_set(tmp_path / "rooms", source, "training", TRAIN)
    n = source.counts("training")["images"]
    assert manifest.counts == {"records": n, "items": n, "rejects": 0, "view": n * VIEWS}
    shards = ShardSet.open(str(tmp_path / "rooms"))
    task = seg.build(classes=len(CLASSES))
    seen: Counter[tuple[str, int]] = Counter()
    stream = BatchStream(
        shards,
        Order(n, seed=0),
        batch_size=n,
        stop=n * VIEWS,
        fields=("latent",),
        labels=task.labels,
        draw=task.row_draw,
    )
    with stream:
        for batch in stream:
            for place, (key, row) in enumerate(zip(batch.keys, batch.rows.tolist(), strict=True)):
                example = source.load("training", key)
                view = TRAIN.views(key, *example.image.shape[:2], example.labels)[row]
                pixels = to_pixels([render(example.image, view)], TRAIN.size_px)
                assert np.array_equal(batch.arrays["latent"][place], ToyVae().encode(pixels)["latent"][0])
                label = cut_label(pixels_of(example.labels["label"]), view, fill=255)
                assert np.array_equal(batch.arrays["label"][place], label)
                seen[key, row] += 1
    assert len(seen) == n * VIEWS
    assert set(seen.values()) == {1}


def test_quick_labels_are_the_same_labels_and_another_recipe(tmp_path: Path, source: Any) -> None:
    task, found = seg.build(classes=len(CLASSES)), []
    for form in LABEL_FORMS:
        recipe = build_set(tmp_path / form, source, "training", TRAIN, replace(SETTINGS, labels=form)).recipe
        assert recipe.get("labels", "small") == form
        shards = ShardSet.open(str(tmp_path / form))
        n, options = shards.n_items, {"fields": ("latent",), "batch_labels": task.batch_labels, "draw": task.row_draw}
        with BatchStream(shards, Order(n, seed=0), batch_size=n, stop=n * VIEWS, **options) as stream:
            found.append([{name: array.copy() for name, array in batch.arrays.items()} for batch in stream])
        runs = [row_runs(shards.record(number).payload("label"), "label") for number in range(n)]
        assert all((one is not None) == (form == "quick") for one in runs)
    for small, quick in zip(*found, strict=True):
        assert small.keys() == quick.keys() == {"latent", "label"}
        assert all(np.array_equal(small[name], quick[name]) for name in small)


class Guess(nn.Module):
    """Logits from the latents alone, all of them different: evaluation has something to merge."""

    def forward(self, latents: torch.Tensor, context: None, out_size_px: None) -> torch.Tensor:
        mixed = torch.einsum("kc,bchw->bkhw", torch.linspace(-3, 3, 4 * len(CLASSES)).sin().view(-1, 4), latents)
        assert out_size_px is None  # as the model makes it
        return mixed


def test_multi_scale_evaluation_on_one_and_on_two_workers_gives_the_same_numbers(tmp_path: Path, source: Any) -> None:
    build_set(tmp_path / "rooms", source, "validation", TILES)
    shards, task = ShardSet.open(str(tmp_path / "rooms")), seg.build(classes=len(CLASSES))
    whole = evaluate(Guess(), task, shards, batch_size=7)
    check_count(whole, task, shards)
    assert len(set(whole.compute().values())) == 3
    merged = task.new_metric()
    for rank in range(2):
        part = evaluate(Guess(), task, shards, rank=rank, world=2, batch_size=5)
        assert isinstance(part, type(merged))
        assert part.count < whole.count
        merged = merged.joined([merged.state, part.state])
    assert torch.equal(merged.state, whole.state)


def test_a_users_own_folders_build_the_same_way(tmp_path: Path, source: Any) -> None:
    """The same pictures through both sources: the records differ in what the source says about itself only."""
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(CLASSES))
    own = image_folders.build(
        str(source.root), str(classes), splits=["validation"], labels="annotations/{split}", zero_is_ignored=True
    )
    build_set(tmp_path / "own", own, "validation", TILES)
    build_set(tmp_path / "ade", source, "validation", TILES)
    sets = [ShardSet.open(str(tmp_path / name)) for name in ("own", "ade")]
    for number in range(sets[0].n_records):
        first, second = (each.record(number) for each in sets)
        assert np.array_equal(first.array("latent"), second.array("latent"))
        assert bytes(first.payload("label")) == bytes(second.payload("label"))
        assert {**first.meta, "scene": second.meta["scene"]} == second.meta


@pytest.mark.parametrize("split", ["training", "validation"])
def test_the_real_sample_converts(split: str, realdata: Path, tmp_path: Path) -> None:
    root = realdata / "ade20k/ADEChallengeData2016"
    real, plan = ade20k.build(root), segmentation_tiles.build()
    settings = BuildSettings(records_per_shard=25, image_batch=4, max_rejects=0.0)
    build_set(tmp_path / "ade", real, split, plan, settings)
    shards = ShardSet.open(str(tmp_path / "ade"))
    assert shards.n_records == len(list((root / "images" / split).iterdir()))
    for number in range(shards.n_records):
        record = shards.record(number)
        raw = np.array(Image.open(root / "annotations" / split / f"{record.key}.png"))
        stored = pixels_of(record.payload("label"))
        assert np.array_equal(stored, np.where(raw == 0, 255, raw.astype(int) - 1))
        assert (record.meta["height"], record.meta["width"]) == raw.shape
        views = [View.from_json(view) for view in record.meta["views"]]
        assert views == plan.views("", *raw.shape)
        assert record.array("latent").shape == (len(views), 4, 64, 64)
        task = seg.build()
        for row in range(len(views)):
            sample: Any = SimpleNamespace(key=record.key, meta=record.meta, payload=record.payload, row=row)
            assert task.labels(sample)["label"].shape == (512, 512)
