"""The pose task on small sets as the build writes them: targets, mirror images, training, pictures and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from diffusion_perception.assembly.network import build_head
from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import persons
from shards.errors import ConfigError, ContractError, SchemaMismatch
from shards.geometry.points import to_view
from shards.geometry.view import View
from shards.reading.order import order_of
from shards.reading.stream import BatchStream
from tests.vpd.pose_world import HEIGHT, WIDTH, Oracle, independent_ap, people, record_of, write_set
from vpd.inference.evaluate import evaluate
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.settings import PromptConfig
from vpd.tasks.pose import task as pose
from vpd.tasks.pose.heat_maps import MIRROR, target_maps


@pytest.fixture
def make_set(tmp_path):
    """Writes and opens a finished set of `count` records."""

    def make(count=5, records=None, **options):
        records = records or [record_of(number, **options) for number in range(count)]
        return write_set(tmp_path / f"set-{len(list(tmp_path.iterdir()))}", records)

    return make


def stream_of(shards, task, **options):
    order = order_of(shards, seed=1)
    return BatchStream(shards, order, fields=["latent"], draw=task.row_draw, labels=task.labels, threads=0, **options)


def test_targets_stand_where_the_drawn_view_shows_the_keypoints(make_set):
    shards, task = make_set(plan=persons.build(mode="k", k=4)), pose.build()
    seen, mirrored = set(), 0
    with stream_of(shards, task, batch_size=5, stop=60) as stream:
        for batch in stream:
            maps, weights = batch.arrays["maps"], batch.arrays["weights"]
            assert (maps.shape, maps.dtype) == ((5, 17, 64, 48), np.float32)
            assert (weights.shape, weights.dtype) == ((5, 17), np.float32)
            for place in range(5):
                item = batch.sample(place)
                view = View.from_json(item.meta["views"][item.row])
                keypoints = np.reshape(item.meta["persons"][item.item]["keypoints"], (17, 3))
                for k in range(17):
                    x, y, v = keypoints[MIRROR[k] if view.flip else k]
                    x, y = to_view(np.array([x, y]), view)
                    inside = -0.5 <= x < 191.5 and -0.5 <= y < 255.5
                    assert weights[place, k] == (v > 0 and inside)
                    if weights[place, k]:
                        row, column = np.unravel_index(maps[place, k].argmax(), (64, 48))
                        assert abs(4 * column + 1.5 - x) < 2.001
                        assert abs(4 * row + 1.5 - y) < 2.001
                mirrored += view.flip
                seen.add((item.key, item.row))
    assert len(seen) == 60  # four epochs used each of four views of fifteen persons once
    assert 10 < mirrored < 50


def test_mirror_images_are_averaged_in_the_frame_of_the_crop(make_set):
    """Crop and mirror image are two map pixels off in opposite directions of the crop: together they are right."""
    shards, task = make_set(1), pose.build()
    opposed = Oracle(shards, lambda maps, _, view: np.roll(maps, 2, axis=2))  # mirrored: to the other side
    alone = Oracle(shards, lambda maps, _, view: np.roll(maps, -2 if view.flip else 2, axis=2))
    errors = []
    for model in (opposed, alone):
        found = []
        evaluate(model, task, shards, on_record=lambda r, o, found=found: found.append(task.predictions(r, o)[0, 0]))
        right = np.reshape(people(0)[0]["keypoints"], (17, 3))
        errors.append(np.abs(found[0].numpy()[:, :2] - right[:, :2]).max(axis=0))
    assert errors[0].max() < 2
    assert errors[1][0] > 6  # two map pixels are eight of the view, and almost as many of the picture


def test_a_persons_score_is_its_boxs_times_that_of_the_keypoints_that_count(make_set):
    boxes = record_of(0).values["meta"]["boxes"]  # type: ignore[index]
    shards = make_set(records=[record_of(0, boxes=[{**box, "score": 0.5} for box in boxes])])
    task, record, outputs = pose.build(), shards.record(0), torch.zeros(6, 17, 64, 48)
    outputs[:, 0, 30, 20], outputs[:, 1, 30, 20], outputs[:, 2, 30, 20] = 0.8, 0.4, 0.1
    outputs[1::2] = outputs[0::2].flip(-1)[:, MIRROR]
    (score, keypoints), *_ = task.persons(record, outputs)
    assert score == pytest.approx(0.5 * 0.6)
    assert keypoints[:3, 2] == pytest.approx([0.8, 0.4, 0.1])
    assert task.persons(record, torch.zeros(6, 17, 64, 48))[0][0] == 0


def test_views_that_are_not_one_crop_cannot_be_evaluated(make_set):
    shards = make_set(1, plan=persons.build(mode="k", k=2))
    with pytest.raises(ContractError, match=r"different crops.*mode exact"):
        evaluate(Oracle(shards), pose.build(), shards)


def test_sets_that_cannot_train_or_are_of_another_kind_are_named(make_set):
    boxes = record_of(0).values["meta"]["boxes"]  # type: ignore[index]
    cases = [
        (make_set(records=[record_of(0, boxes=boxes[:1])]), "1 boxes in meta.* for 3 items"),
        (make_set(records=[record_of(0, boxes=[{**b, "person": None} for b in boxes])]), "from the ground-truth boxes"),
    ]
    for shards, match in cases:
        with pytest.raises(SchemaMismatch, match=match), stream_of(shards, pose.build(), batch_size=1) as stream:
            next(stream)


def test_the_loss_is_the_mean_over_maps_and_ignores_those_of_weight_0():
    task, target = pose.build(), torch.rand(2, 17, 8, 6)
    weights = torch.ones(2, 17)
    weights[0, 3] = 0
    batch = DeviceBatch(torch.zeros(2, 4, 4, 3), None, {"maps": target, "weights": weights})
    maps = target.clone()
    maps[0, 3] += 9
    assert task.loss(maps, batch).item() == 0
    maps[1, 4] += 2
    assert task.loss(maps, batch).item() == pytest.approx(4 / 34, rel=1e-5)
    assert task.loss([maps, maps], batch).item() == pytest.approx(8 / 34, rel=1e-5)
    assert task.loss(torch.zeros(2, 17, 4, 3), batch).isfinite()


def test_one_made_up_picture_is_learned_by_the_prompts(make_set, make_unet):
    """Two drawn skeletons, their mirror images too; latents are the pixels of the views, 8 x 8 averaged."""
    plan, task = persons.build(size=[128, 64], flip=True), pose.build()
    two = people(0)[:2]
    image = task.draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.reshape([p["keypoints"] for p in two], (2, 17, 3)))
    latents, labels = [], {"maps": [], "weights": []}
    for p in two:
        x, y, w, h = p["box_xywh_px"]
        for view in plan.box_views("a", 0, (x, y, x + w, y + h), HEIGHT, WIDTH):
            pixels = to_pixels([render(image, view)], view.size_px, pad_before_px=[view.pad_before_px])[0]
            pooled = pixels.reshape(3, 16, 8, 8, 8).mean(axis=(2, 4))
            latents.append(np.concatenate([pooled, pooled[:1]]))
            keypoints = np.reshape(p["keypoints"], (17, 3))[MIRROR if view.flip else slice(None)]
            targets = target_maps(to_view(keypoints[:, :2], view), keypoints[:, 2] > 0, view.size_px, 2.0)
            for name, value in zip(labels, targets, strict=True):
                labels[name].append(value)
    stacked = {name: torch.from_numpy(np.stack(values)) for name, values in labels.items()}
    batch = DeviceBatch(torch.from_numpy(np.stack(latents)).float(), None, stacked)
    backbone = make_unet({"layers_per_block": 1}, attention_maps="", timestep=None, resize_skips=True)
    head = build_head(task, backbone.spec(17), width=32)
    model = Perception.conditioned(backbone, head, PromptConfig(count=17), tokens=17).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = task.loss(model(batch.latents, task.context(batch), task.out_size_px(batch)), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]


def test_predictions_are_drawn_and_written_as_cocos_results(make_set, tmp_path):
    shards, task, found = make_set(1), pose.build(), []
    evaluate(Oracle(shards), task, shards, on_record=lambda r, o: found.append(task.predictions(r, o)))
    ((three,),) = found
    assert three.shape == (3, 17, 3)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture = task.draw(image, three.numpy())
    assert picture.shape == image.shape
    assert picture.any()
    path = tmp_path / f"{shards.record(0).key}{task.export_suffix}"
    task.export(three.numpy(), path)
    results = json.loads(path.read_text())
    assert [r["image_id"] for r in results] == [1, 1, 1]
    assert independent_ap(shards, results)["AP50"] == pytest.approx(1)
    task.export(np.zeros((0, 17, 3)), tmp_path / "photo.json")
    assert json.loads((tmp_path / "photo.json").read_text()) == []


def test_learned_prompts_are_needed_one_for_each_keypoint(make_set, make_unet):
    with pytest.raises(ConfigError, match=r"set model\.prompts\.count=17"):
        pose.build().tokens(make_set(1).schema)
    with pytest.raises(ConfigError, match=r"Set model\.prompts\.count=17"):
        build_head(pose.build(), make_unet(attention_maps="").spec(50))


@pytest.mark.parametrize("options", [{"sigma": 0}, {"score_min": 1.1}, {"same_oks": 0}])
def test_wrong_settings_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        pose.build(**options)
