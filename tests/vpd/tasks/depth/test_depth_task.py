"""The depth task on small sets as the build writes them: labels, exact evaluation, pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from shards.contract.lengths import per_metre
from shards.contract.quick_png import quick_png
from shards.contract.schema import Field, Record, Schema
from shards.errors import ConfigError, ContractError, CorruptShard, SchemaMismatch
from shards.geometry.view import View
from shards.reading.order import order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.writing.writer import seal_set, write_shard
from vpd.inference.evaluate import check_count, evaluate
from vpd.model.device_batch import DeviceBatch
from vpd.tasks.depth import task as depth
from vpd.tasks.depth.labels import metres, stored_depth

HEIGHT, WIDTH = 48, 64
METRES = Field("depth", "npy", "float32", ("H", "W"), unit="metres, 0 = no measurement (rawDepths)")
MILLIMETRES = Field("depth", "png", unit="uint16 millimetres, 0 = no measurement")


def blocks(number):
    """Depth in millimetres uint16 [H, W], constant on cells of 8 x 8, with a hole."""
    cells = np.random.default_rng(number).integers(500, 9000, (HEIGHT // 8, WIDTH // 8), dtype=np.uint16)
    depth_mm = cells.repeat(8, 0).repeat(8, 1)
    depth_mm[3:9, 10:20] = 0
    return depth_mm, cells


def tiles(pad=16):
    """Two square windows and their flipped copies, padded as 480 is to 512."""
    size = (HEIGHT, WIDTH)
    return [
        View(
            (HEIGHT + pad, HEIGHT + pad),
            (0, 0, WIDTH, HEIGHT),
            size,
            (x, 0, x + HEIGHT, HEIGHT),
            flip=f,
            pad_px=(pad, pad),
        )
        for x in (0, WIDTH - HEIGHT)
        for f in (False, True)
    ]


def png_of(depth_mm):
    buffer = io.BytesIO()
    Image.fromarray(depth_mm).save(buffer, "PNG")
    return buffer.getvalue()


def record_of(number, views, field, **meta):
    """A record whose latents hold, in every channel, the depth in metres of each cell that an unresized view shows."""
    depth_mm, cells = blocks(number)
    latents = np.zeros((len(views), 4, *(side // 8 for side in views[0].size_px)), np.float16)
    for latent, view in zip(latents, views, strict=True):
        if view.resized_px != (HEIGHT, WIDTH):
            continue
        x0, y0, x1, y1 = (edge // 8 for edge in view.window_px)
        shown = cells[y0:y1, x0:x1] / 1000
        latent[:, : y1 - y0, : x1 - x0] = shown[:, ::-1] if view.flip else shown
    stored = png_of(depth_mm) if field.codec == "png" else (depth_mm / 1000).astype(np.float32)
    meta = {"items": [[0, len(views)]], "views": [v.to_json() for v in views], "class_id": number % 3} | meta
    return Record(f"frame{number}", {"latent": latents, "depth": stored, "meta": meta})


@pytest.fixture
def make_set(tmp_path):
    """Writes and opens a finished set of `count` records, all with the same views."""

    def make(count=5, views=None, field=MILLIMETRES, records=None, **meta):
        views = views or tiles()
        latent = Field("latent", "npy", "float16", ("V", 4, *(side // 8 for side in views[0].size_px)), "view")
        schema = Schema((latent, field, Field("meta", "json")), item_axis="view")
        root = tmp_path / f"set-{len(list(tmp_path.iterdir()))}"
        records = records or [record_of(number, views, field, **meta) for number in range(count)]
        shard = write_shard(root, f"{root.name}-000000", schema, records)
        seal_set(
            root, name=root.name, split="test", recipe={}, schema=schema, shards=[shard], rejects=[], tables=[], card={}
        )
        return ShardSet.open(root)

    return make


def read_back(latents, context, out_size_px):
    """The model that these sets were made for: its prediction is what the latents hold."""
    assert context.dtype == torch.int64
    assert context.shape == latents.shape[:1]
    grown = latents[:, :1].repeat_interleave(8, 2).repeat_interleave(8, 3)
    return grown[..., : out_size_px[0], : out_size_px[1]]


class ReadBack(torch.nn.Module):
    def forward(self, *args):
        return read_back(*args)


def stream_of(shards, task, **options):
    order = order_of(shards, seed=1)
    return BatchStream(shards, order, fields=["latent"], draw=task.row_draw, labels=task.labels, threads=0, **options)


@pytest.mark.parametrize("field", [METRES, MILLIMETRES], ids=["metres", "millimetres"])
@pytest.mark.parametrize("crop_padding", [True, False])
def test_labels_lie_where_the_drawn_view_shows_them(field, crop_padding, make_set):
    """Cell for cell, the label is what the latent of the same view holds, in all views, flipped or not."""
    shards, task, rows = make_set(field=field), depth.build(crop_padding=crop_padding), set()
    with stream_of(shards, task, batch_size=5, stop=20) as stream:
        for batch in stream:
            label, latent = batch.arrays["depth"], batch.arrays["latent"]
            side = HEIGHT if crop_padding else HEIGHT + 16
            assert label.shape == (5, side, side)
            assert label.dtype == np.float32
            shown = latent[:, 0].repeat(8, 1).repeat(8, 2)[:, :side, :side].astype(np.float32)
            assert np.allclose(label[label > 0], shown[label > 0], rtol=1e-3)
            assert (label[:, HEIGHT:] == 0).all()
            assert 0.5 < (label > 0).mean() < 1
            assert batch.arrays["class_id"].tolist() == [int(batch.sample(i).key[5:]) % 3 for i in range(5)]
            rows.update(zip(batch.keys, batch.rows.tolist(), strict=True))
    assert len(rows) == 20  # four epochs used each of four views of five pictures once


@pytest.mark.parametrize("crop_padding", [True, False])
def test_quick_labels_are_the_same_labels(crop_padding, make_set):
    """One by one from PNGs as sources have them, and as batches from quick ones; the last view is resized."""
    box, window = (0, 0, WIDTH, HEIGHT), (3, 2, 3 + HEIGHT, 2 + HEIGHT)
    resized = View((HEIGHT + 16, HEIGHT + 16), box, (HEIGHT + 9, WIDTH - 9), window, flip=True, pad_px=(16, 16))
    views, task = [*tiles(), resized], depth.build(crop_padding=crop_padding)
    records = [record_of(number, views, MILLIMETRES) for number in range(3)]
    quick = [
        Record(one.key, {**one.values, "depth": quick_png(blocks(number)[0])}) for number, one in enumerate(records)
    ]
    as_stored = stream_of(make_set(views=views, records=records), task, batch_size=3, stop=15)
    quick_set = make_set(views=views, records=quick)
    options = {"fields": ["latent"], "draw": task.row_draw, "batch_labels": task.batch_labels, "threads": 0}
    with as_stored, BatchStream(quick_set, order_of(quick_set, seed=1), batch_size=3, stop=15, **options) as at_once:
        for one, other in zip(as_stored, at_once, strict=True):
            assert one.arrays.keys() == other.arrays.keys()
            assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_a_label_is_read_once_a_sample(make_set):
    """A PNG as other programs write it, too: its bytes are checked whenever they are asked for."""
    with stream_of(make_set(), depth.build(), batch_size=5, stop=5) as stream:
        (batch,) = stream
        assert batch.asked["depth"] == 5


def test_a_batch_of_views_of_two_sizes_is_refused(make_set):
    """The smaller one would fit into the other's place, with zeros beside it that no view says."""
    first = tiles()[0]
    smaller = replace(first, window_px=(0, 0, HEIGHT - 8, HEIGHT - 8), pad_px=(24, 24))
    shards, task = make_set(views=[first, smaller]), depth.build()
    options = {"fields": ["latent"], "draw": task.row_draw, "batch_labels": task.batch_labels, "threads": 0}
    with (
        BatchStream(shards, order_of(shards, seed=1), batch_size=5, stop=10, **options) as stream,
        pytest.raises(SchemaMismatch, match=r"a view of \(\d+, \d+\) pixels in a batch of .*; use batches of one"),
    ):
        list(stream)
    with BatchStream(shards, order_of(shards, seed=1), batch_size=1, stop=10, **options) as stream:
        assert {batch.arrays["depth"].shape[1] for batch in stream} == {HEIGHT, HEIGHT - 8}


def test_stored_values_become_metres_exactly(make_set):
    expected = blocks(0)[0].astype(np.float32) / np.float32(1000)
    whole = [View((HEIGHT, WIDTH), (0, 0, WIDTH, HEIGHT), (HEIGHT, WIDTH), (0, 0, WIDTH, HEIGHT))]
    for field in (METRES, MILLIMETRES):
        with stream_of(make_set(1, whole, field), depth.build(), batch_size=1) as stream:
            assert np.array_equal(next(stream).arrays["depth"][0], expected)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("crop_padding", [True, False])
def test_a_perfect_model_scores_perfectly_exactly_once_per_picture(world, crop_padding, make_set):
    task, shards = depth.build(crop="none", crop_padding=crop_padding), make_set()
    parts = [evaluate(ReadBack(), task, shards, rank=rank, world=world, batch_size=3) for rank in range(world)]
    total = task.new_metric().joined([part.state for part in parts])
    check_count(total, task, shards)
    scores = total.compute()
    assert total.count == 5
    assert scores["d1"] == 1
    assert scores["rmse"] == pytest.approx(0, abs=2e-3)  # latents are float16


def test_windows_and_flips_that_disagree_are_averaged(make_set):
    """A model that adds 1 m to every second sample, the flipped ones: half a metre is left of it."""

    class Disagrees(torch.nn.Module):
        def forward(self, latents, context, size):
            return read_back(latents, context, size) + (torch.arange(len(latents)) % 2).view(-1, 1, 1, 1)

    task, shards = depth.build(crop="none"), make_set(3)
    assert evaluate(Disagrees(), task, shards, batch_size=4).compute()["rmse"] == pytest.approx(0.5, abs=2e-3)


def test_resized_tiles_are_scored_at_the_pictures_own_size(make_set):
    view = View((96, 128), (0, 0, WIDTH, HEIGHT), (96, 128), (0, 0, 128, 96))
    flat = record_of(0, [view], MILLIMETRES)
    flat.values["latent"][:] = 2.5
    flat.values["depth"] = png_of(np.full((HEIGHT, WIDTH), 2000, np.uint16))
    shards, task = make_set(records=[flat], views=[view]), depth.build()
    seen = []
    metric = evaluate(ReadBack(), task, shards, on_record=lambda r, o: seen.append(task.picture(r, o)[0]))
    assert seen[0].shape == (1, HEIGHT, WIDTH)
    assert metric.compute()["rmse"] == pytest.approx(0.5)


def test_a_part_of_the_picture_is_scored_against_that_part_of_the_label(make_set):
    """KITTI's order: the picture is cut to a box first, and the crop is one of the box."""
    box = (16, 8, 64, 40)
    view = View((32, 48), box, (32, 48), (0, 0, 48, 32))
    record = record_of(0, [view], MILLIMETRES)
    record.values["latent"][0] = blocks(0)[1][1:5, 2:8] / 1000
    shards = make_set(records=[record], views=[view])
    assert evaluate(ReadBack(), depth.build(crop="garg"), shards).compute()["rmse"] == pytest.approx(0, abs=2e-3)


def test_uncovered_columns_are_an_error_or_count_as_the_lower_limit(make_set):
    shards = make_set(1, views=tiles()[:1])
    with pytest.raises(ContractError, match=r"cover 75\.0% of the picture"):
        evaluate(ReadBack(), depth.build(), shards)
    task = depth.build(crop="none", uncovered="min_depth", min_depth_m=0.1)
    metric, depth_m = task.new_metric(), torch.from_numpy(blocks(0)[0] / 1000)
    guessed = depth_m.clone()
    guessed[:, HEIGHT:] = 0.1
    metric.update(guessed, depth_m)
    found = evaluate(ReadBack(), task, shards).compute()
    assert found["rmse"] == pytest.approx(metric.compute()["rmse"], rel=1e-3)


def test_views_of_different_parts_cannot_be_evaluated(make_set):
    views = [View((32, 32), box, (32, 32), (0, 0, 32, 32)) for box in ((0, 0, 32, 32), (8, 8, 40, 40))]
    with pytest.raises(ContractError, match=r"frame0: its views show the parts .* tiles"):
        evaluate(ReadBack(), depth.build(), make_set(1, views=views))


def test_views_of_different_padding_are_refused_with_the_way_out(make_set):
    views = tiles()
    views[0] = View((64, 64), (0, 0, WIDTH, HEIGHT), (HEIGHT, WIDTH), (0, 0, 40, HEIGHT), pad_px=(16, 24))
    shards = make_set(1, views=views)
    with pytest.raises(ConfigError, match="crop_padding=false"):
        evaluate(ReadBack(), depth.build(), shards)
    task = depth.build(crop="none", crop_padding=False)
    assert evaluate(ReadBack(), task, shards).compute()["rmse"] == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(("crop_padding", "size"), [(True, (48, 48)), (False, (64, 64))])
def test_the_size_without_labels_is_what_the_records_say(crop_padding, size, make_set):
    """Not the latents' size times a stride: what a latent pixel shows is the encoder's business."""
    task = depth.build(crop_padding=crop_padding)
    samples = task.samples(make_set(1).record(0))
    labels = {"out_px": torch.from_numpy(samples["out_px"])}
    assert task.out_size_px(DeviceBatch(torch.zeros(4, 16, 5, 5), None, labels)) == size


def test_the_loss_reads_the_settings():
    torch.manual_seed(0)
    pred, target = torch.rand(2, 1, 4, 5) + 1, torch.rand(2, 4, 5) + 1
    batch = DeviceBatch(torch.zeros(2, 4, 1, 1), None, {"depth": target})
    found = {
        (loss, focus): depth.build(loss=loss, focus=focus).loss(pred, batch).item()
        for loss in ("pooled", "per_image")
        for focus in (0.0, 1.0)
    }
    d = target.log() - pred[:, 0].log()
    assert found["pooled", 0.0] == pytest.approx(d.square().mean().sqrt().item())
    assert found["pooled", 1.0] == pytest.approx(d.std(correction=0).item(), rel=1e-5)
    assert found["per_image", 1.0] == pytest.approx(d.flatten(1).std(1, correction=0).mean().item(), rel=1e-5)


def test_a_drawing_is_light_where_near_and_black_where_unknown():
    output = np.linspace(1, 9, 12, dtype=np.float32).reshape(1, 3, 4)
    output[0, 0, 0] = np.nan
    drawn = depth.build().draw(np.zeros((3, 4, 3), np.uint8), output)
    assert drawn.shape == (3, 4, 3)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [0, 0, 0]
    grey = drawn.astype(int).sum(-1).ravel()[1:]
    assert (np.diff(grey) <= 0).all()
    assert grey[0] > 2 * grey[-1]
    assert depth.build().draw(np.zeros((2, 2, 3), np.uint8), np.full((1, 2, 2), 3.0)).shape == (2, 2, 3)


def test_an_export_is_a_png_of_millimetres(tmp_path):
    output = np.array([[[0.0015, 1.2344, np.nan], [70.0, -1.0, 10.0]]], np.float32)
    depth.build().export(output, tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as picture:
        assert picture.mode == "I;16"
        assert np.asarray(picture).tolist() == [[2, 1234, 0], [65535, 0, 10000]]


def test_an_export_beyond_the_range_of_millimetres_has_the_unit_of_kitti(tmp_path):
    depth.build(max_depth_m=80.0).export(np.array([[[70.0, 1.0]]], np.float32), tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as picture:
        assert np.asarray(picture).tolist() == [[70 * 256, 256]]


def test_views_that_were_fitted_another_way_are_refused():
    """Predicting 480 of 512 pixels that show 480 enlarged would be silently wrong, and so would the reverse."""
    padded = View((64, 64), (0, 0, 60, 60), (60, 60), (0, 0, 60, 60), pad_px=(4, 4))
    enlarged = View((64, 64), (0, 0, 60, 60), (60, 60), (0, 0, 60, 60), enlarged_px=(64, 64))
    for view, wrong in ((padded, "enlarged"), (enlarged, "padded")):
        record = SimpleNamespace(
            key="x", meta={"views": [view.to_json()], "class_id": -1}, array=lambda _name: np.zeros((1, 4, 8, 8))
        )
        with pytest.raises(SchemaMismatch, match=f"view_fit is {wrong}. Set view_fit to how"):
            depth.build(view_fit=wrong).samples(record)
        right = "padded" if wrong == "enlarged" else "enlarged"
        assert depth.build(view_fit=right).samples(record)["out_px"].tolist() == [[60, 60]]


def test_an_export_is_read_back_by_the_label_reader(tmp_path):
    expected = blocks(1)[0].astype(np.float32) / 1000
    depth.build().export(expected[None], tmp_path / "x.png")
    payload = memoryview((tmp_path / "x.png").read_bytes())
    stored = stored_depth(SimpleNamespace(key="x", payload=lambda _name: payload), MILLIMETRES)
    assert np.array_equal(metres(stored, per_metre(MILLIMETRES)), expected)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("millimetres", 1000),
        ("depth in mm, 0 = unknown", 1000),
        ("metres, 0 = no measurement (rawDepths, mm before)", 1),
        ("1/256 metres", 256),
        ("1 / 5000 m", 5000),
    ],
)
def test_the_unit_is_the_first_length_in_the_text(unit, expected):
    assert per_metre(Field("depth", "png", unit=unit)) == expected


def test_records_that_are_not_depth_records_are_named(make_set):
    cases = [
        (make_set(1, class_id="kitchen"), SchemaMismatch, r"frame0: meta\['class_id'\] is 'kitchen'"),
        (make_set(1, class_id=-2), SchemaMismatch, r"meta\['class_id'\] is -2"),
        (make_set(1, field=Field("depth", "png", unit="grey")), SchemaMismatch, "its unit is 'grey'"),
    ]
    for shards, error, match in cases:
        with pytest.raises(error, match=match), stream_of(shards, depth.build(), batch_size=1) as stream:
            next(stream)


@pytest.mark.parametrize("grey", [np.zeros((HEIGHT, WIDTH), np.uint8), None])
def test_a_png_of_8_bits_or_none_at_all_is_refused(grey, make_set):
    record = record_of(0, tiles(), MILLIMETRES)
    record.values["depth"] = png_of(grey) if grey is not None else png_of(blocks(0)[0])[:60]
    with pytest.raises(CorruptShard, match=r"frame0: depth\.png"):
        next(stream_of(make_set(records=[record]), depth.build(), batch_size=1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"crop": "kb"}, "crop 'kb' is unknown; choose one of none, nyu, garg, eigen"),
        ({"loss": "l1"}, "loss 'l1' is unknown"),
        ({"uncovered": "zero"}, "uncovered 'zero' is unknown"),
        ({"focus": 1.5}, "focus, the lambda of SiLog, is 1.5"),
        ({"min_depth_m": 0}, "expected 0 < min < max"),
        ({"min_depth_m": 20}, "expected 0 < min < max"),
    ],
)
def test_wrong_settings_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        depth.build(**options)
