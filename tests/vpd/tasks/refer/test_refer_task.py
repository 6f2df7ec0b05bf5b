"""The refer task: labels, loss and scores, from records as the build writes them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

from shards.errors import ConfigError, SchemaMismatch
from shards.reading.labelling import Buffers, Room
from vpd.model.device_batch import DeviceBatch
from vpd.tasks.refer import task as refer

HEIGHT, WIDTH, VIEW = 30, 50, 16


def rle_of(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def blob(seed):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return ((y - 8 - seed * 5) ** 2 + (x - 10 - seed * 12) ** 2 < 60).astype(np.uint8)


def record():
    """Two refs of one image: three sentences and two."""
    view = {
        "size_px": [VIEW, VIEW],
        "box_px": [0, 0, WIDTH, HEIGHT],
        "resized_px": [VIEW, VIEW],
        "window_px": [0, 0, VIEW, VIEW],
        "kernel": "pil_bilinear",
        "flip": False,
        "pad_px": [0, 0],
        "colour": [],
    }
    refs = [{"ref_id": i, "rle": rle_of(blob(i))} for i in range(2)]
    meta = {"items": [[0, 3], [3, 2]], "refs": refs, "views": [view], "sentences": list("abcde")}
    arrays = {
        "latent": np.random.default_rng(0).normal(size=(2, 4, 2, 2)).astype(np.float16),
        "text": np.random.default_rng(1).normal(size=(5, 7, 6)).astype(np.float16),
        "tokens": np.arange(35, dtype=np.int32).reshape(5, 7),
    }

    def array(field, first=0, n=None):
        return arrays[field][first : None if n is None else first + n]

    return SimpleNamespace(key="img", meta=meta, array=array)


def item(index, meta=None):
    return SimpleNamespace(key="img", meta=meta or record().meta, item=index)


def test_an_items_mask_is_its_refs_nearest_resize():
    """Nearest neighbour by hand: the source pixel under the centre of each view pixel."""
    rows = ((np.arange(VIEW) + 0.5) * HEIGHT / VIEW).astype(int)
    columns = ((np.arange(VIEW) + 0.5) * WIDTH / VIEW).astype(int)
    for index in range(2):
        found = refer.build().labels(item(index))["mask"]
        assert found.dtype == np.uint8
        assert np.array_equal(found, blob(index)[rows][:, columns])


def test_masks_of_a_batch_are_those_of_its_items():
    task, room = refer.build(), Room(Buffers(np.ones), 3)
    samples = [item(index) for index in (1, 0, 1)]
    expected = [task.labels(sample)["mask"] for sample in samples]
    assert not np.array_equal(expected[0], expected[1])
    assert np.array_equal(task.batch_labels(samples, room)["mask"], expected)


def test_the_published_transform_gives_the_same_mask(golden_refer):
    mask = golden_refer["transform.mask_u8"].numpy()
    height, width = mask.shape
    meta = record().meta
    meta["refs"][0]["rle"] = rle_of(mask)
    meta["views"][0] |= {
        "size_px": [64, 64],
        "box_px": [0, 0, width, height],
        "resized_px": [64, 64],
        "window_px": [0, 0, 64, 64],
    }
    found = refer.build().labels(item(0, meta))["mask"]
    assert np.array_equal(found, golden_refer["transform.out_target"].numpy())


def test_loss_equals_the_official_criterion(golden_refer):
    batch = DeviceBatch(torch.zeros(3, 4, 2, 2), None, {"mask": golden_refer["ce.target"].to(torch.uint8)})
    loss = refer.build().loss(golden_refer["ce.logits"], batch)
    assert loss.item() == pytest.approx(golden_refer.facts["ce"]["loss"], rel=1e-6)


def test_loss_is_a_weighted_mean_with_chosen_weights():
    logits, mask = torch.randn(2, 2, 4, 4), torch.randint(0, 2, (2, 4, 4), dtype=torch.uint8)
    loss = refer.build(class_weights=[0.5, 3.0]).loss(
        logits, DeviceBatch(torch.zeros(2, 4, 1, 1), None, {"mask": mask})
    )
    weights = torch.where(mask == 1, 3.0, 0.5)
    picked = -logits.log_softmax(1).gather(1, mask[:, None].long())[:, 0]
    torch.testing.assert_close(loss, (picked * weights).sum() / weights.sum())


@pytest.mark.parametrize("weights", [[1.0], [0.9, 1.1, 1.0], [0.0, 1.0]])
def test_wrong_class_weights_are_refused(weights):
    with pytest.raises(ConfigError, match="two positive numbers"):
        refer.build(class_weights=weights)


@pytest.mark.parametrize("field", ["text", "tokens"])
def test_samples_are_the_sentences_on_one_latent(field):
    one = record()
    samples = refer.build().samples(one, field)
    assert samples["latent"].shape == (5, 4, 2, 2)
    assert all(np.array_equal(row, one.array("latent")[0]) for row in samples["latent"])
    assert np.array_equal(samples[field], one.array(field))


def test_scores_are_taken_at_both_sizes_sentence_by_sentence():
    task, one = refer.build(), record()
    torch.manual_seed(0)
    outputs = torch.randn(5, 2, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)  # [5, 2, 16, 16]
    metric = task.new_metric()
    task.score(metric, one, outputs)
    expected = {"": [], "native/": []}
    for sentence, logits in enumerate(outputs):
        index = 0 if sentence < 3 else 1
        full = blob(index).astype(bool)
        small = task.labels(item(index))["mask"].astype(bool)
        native = F.interpolate(logits[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=True)[0]
        for name, target, pred in (("", small, logits), ("native/", full, native)):
            pred = (pred[1] > pred[0]).numpy()
            expected[name].append(((pred & target).sum(), (pred | target).sum()))
    found = metric.compute()
    assert metric.count == 5
    for name, pairs in expected.items():
        assert found[f"{name}mIoU"] == pytest.approx(np.mean([i / u for i, u in pairs]))
        assert found[f"{name}oIoU"] == pytest.approx(sum(i for i, _ in pairs) / sum(u for _, u in pairs))
    assert found["oIoU"] != found["native/oIoU"]


def test_a_perfect_prediction_scores_1_at_the_published_size():
    task, one = refer.build(), record()
    masks = [torch.from_numpy(task.labels(item(i))["mask"]).float() for i in (0, 0, 0, 1, 1)]
    metric = task.new_metric()
    task.score(metric, one, torch.stack([torch.stack([1 - m, m]) for m in masks]))
    assert metric.compute()["oIoU"] == metric.compute()["P@0.9"] == 1.0


def with_a_sentence_of_nothing():
    """The record, and a third ref whose mask is empty, with one sentence."""
    one = record()
    one.meta["refs"].append({"ref_id": 2, "rle": rle_of(np.zeros((HEIGHT, WIDTH)))})
    one.meta["items"].append([5, 1])
    return one


def test_a_sentence_without_target_is_learnt_as_all_background():
    task, one = refer.build(), with_a_sentence_of_nothing()
    mask = task.labels(item(2, one.meta))["mask"]
    assert mask.shape == (VIEW, VIEW)
    assert not mask.any()
    logits = torch.zeros(1, 2, VIEW, VIEW, requires_grad=True)
    labels = {"mask": torch.from_numpy(mask)[None]}
    loss = task.loss(logits, DeviceBatch(torch.zeros(1, 4, 2, 2), None, labels))
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    assert logits.grad is not None
    assert bool((logits.grad[:, 1] > 0).all()), "a step lowers the object's logit everywhere"


def test_sentences_without_target_have_scores_of_their_own_and_leave_the_published_ones_alone():
    task, one = refer.build(no_target_px=5), record()
    outputs = torch.randn(6, 2, VIEW, VIEW)
    outputs[5] = torch.stack([torch.ones(VIEW, VIEW), -torch.ones(VIEW, VIEW)])  # nothing is found
    published, general = task.new_metric(), task.new_metric()
    task.score(published, one, outputs[:5])
    task.score(general, with_a_sentence_of_nothing(), outputs)
    before, after = published.compute(), general.compute()
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f"{at}{name}" for at in ("", "native/") for name in refer.GENERAL}
    assert (general.count, after["N_acc"], after["T_acc"]) == (6, 1.0, 1.0)
    assert after["gIoU"] == pytest.approx((5 * before["mIoU"] + 1) / 6)
    assert after["cIoU"] == pytest.approx(before["oIoU"])
    outputs[5, 1, 0, :5] = 2.0  # five pixels are an answer
    wrong = task.new_metric()
    task.score(wrong, with_a_sentence_of_nothing(), outputs)
    assert (wrong.compute()["N_acc"], wrong.compute()["native/N_acc"]) == (0.0, 0.0)
    assert wrong.compute()["gIoU"] == pytest.approx(5 * before["mIoU"] / 6)


def test_scores_of_nothing_are_not_numbers_and_a_score_to_choose_by_is_always_there():
    task = refer.build(best_by="gIoU")
    assert task.metric_name == "gIoU"
    assert all(np.isnan(value) for value in task.new_metric().compute().values())
    metric = task.new_metric()
    task.score(metric, record(), torch.randn(5, 2, VIEW, VIEW))
    assert metric.compute()["gIoU"] <= metric.compute()["mIoU"]
    assert np.isnan(metric.compute()["N_acc"])


@pytest.mark.parametrize("options", [{"no_target_px": -1}, {"best_by": "giou"}])
def test_wrong_settings_of_the_scores_are_refused(options):
    with pytest.raises(ConfigError, match=r"no_target_px is -1|Did you mean 'gIoU'"):
        refer.build(**options)


def test_metric_states_add():
    task, one = refer.build(), record()
    outputs = torch.randn(5, 2, VIEW, VIEW)
    metric, other = task.new_metric(), task.new_metric()
    task.score(metric, one, outputs)
    task.score(other, one, outputs.flip(1))
    added = metric.joined([metric.state, other.state])
    assert (metric.count, added.count) == (5, 10)
    assert torch.equal(added.state, metric.state + other.state)
    assert not torch.equal(other.state, metric.state)


def test_a_record_of_another_dataset_is_named():
    with pytest.raises(SchemaMismatch, match=r"record img: meta\['refs'\] has 0 entries, entry 0 is needed"):
        refer.build().labels(item(0, {"items": [[0, 1]], "views": []}))


def test_output_size_and_context_come_from_the_batch():
    task = refer.build()
    view_px = torch.from_numpy(task.samples(record())["view_px"])
    batch = DeviceBatch(torch.zeros(2, 4, 64, 48), torch.ones(2, 7, 6), {"view_px": view_px})
    assert task.out_size_px(batch) == (VIEW, VIEW), "as the record says, whatever a latent pixel shows"
    training = DeviceBatch(torch.zeros(2, 4, 64, 48), None, {"mask": torch.zeros(2, 512, 384)})
    assert task.out_size_px(training) == (512, 384)
    assert task.context(batch) is batch.text
    with pytest.raises(SchemaMismatch, match="neither `text` nor `tokens`"):
        task.context(DeviceBatch(torch.zeros(2, 4, 64, 48), None))
