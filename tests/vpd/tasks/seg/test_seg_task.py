"""The segmentation task: labels, loss, windows and scores, from records as the build writes them."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from diffusion_perception.assembly.network import build_head
from pipeline.views import segmentation, segmentation_tiles
from shards.contract.quick_png import quick_png
from shards.errors import ConfigError, ContractError, CorruptShard, SchemaMismatch
from shards.geometry.view import cut_label
from shards.reading.labelling import Buffers, Room
from vpd.backbones import FeatureSpec, Level
from vpd.heads.fpn import SemanticFpn
from vpd.heads.upernet import UPerNet
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.model.text_adapter import TextAdapter
from vpd.tasks.seg import task as seg
from vpd.tasks.seg.draw import palette, write_label_png
from vpd.tasks.seg.lovasz import lovasz_softmax
from vpd.training.settings import OptimConfig
from vpd.training.step.optim import build_optimizer, named_groups

HEIGHT, WIDTH, CROP, CLASSES = 40, 66, 32, 3


def label():
    """Three classes and a frame without one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = np.where(x < 30, 0, np.where(y < 18, 1, 2)).astype(np.uint8)
    values[:3] = 255
    return values


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def record(views, payload=None, **extra):
    meta = {"items": [[0, len(views)]], "views": [view.to_json() for view in views]}
    payload = png(label()) if payload is None else payload
    latent = np.zeros((len(views), 4, CROP // 8, CROP // 8), np.float16)
    return SimpleNamespace(key="img", meta=meta, payload=lambda _: payload, array=lambda _: latent, **extra)


def tiles(**options):
    plan = segmentation_tiles.build(crop=CROP, stride=21, base=(128, CROP), **options)
    return plan.views("img", HEIGHT, WIDTH)


def one_hot(values, at=1):
    """Logits [C, h, w] that are sure of the classes [h, w], and undecided where there is none."""
    hot = F.one_hot(torch.from_numpy(values).long().clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES]
    return hot.permute(2, 0, 1).float() * 20 * at


def test_a_sample_is_the_drawn_view_of_the_label_with_padding_ignored():
    plan = segmentation.build(k=6, crop=CROP, base=(128, 24), seed=2)
    views = plan.views("img", HEIGHT, WIDTH, {"label": label()})
    assert any(view.pad_px != (0, 0) for view in views)
    for row, view in enumerate(views):
        found = seg.build(classes=CLASSES).labels(record(views, row=row))["label"]
        assert found.dtype == np.uint8
        assert np.array_equal(found, cut_label(label(), view, fill=255))
        bottom, right = view.pad_px
        assert (found[CROP - bottom :] == 255).all()
        assert (found[:, CROP - right :] == 255).all()
    task, room = seg.build(classes=CLASSES), Room(Buffers(np.empty), len(views))
    for form in (png, quick_png):
        samples = [record(views, form(label()), row=row) for row in range(len(views))]
        found = task.batch_labels(samples, room)["label"]
        assert np.array_equal(found, [cut_label(label(), view, fill=255) for view in views])
        found[...] = 7  # what the next batch finds there


def test_with_lovasz_loss_the_host_is_told_the_classes_of_every_label():
    views = tiles()
    task, room = seg.build(classes=4, lovasz=1.0), Room(Buffers(np.empty), len(views))
    samples = [record(views, row=row) for row in range(len(views))]
    expected = [[index in cut_label(label(), view, fill=255) for index in range(4)] for view in views]
    assert not any(flags[3] for flags in expected)
    for _ in range(2):  # the second finds there what the first left
        made = task.batch_labels(samples, room)
        assert made["host_classes"].tolist() == expected
        made["host_classes"][...] = True
    assert [task.labels(sample)["host_classes"].tolist() for sample in samples] == expected
    assert "host_classes" not in seg.build(classes=4).labels(samples[0])


def test_a_batch_of_views_of_two_sizes_is_refused():
    """The smaller one would fit into the other's place, beside what lay there before."""
    first = next(view for view in tiles() if not view.is_padded)
    x0, y0, _, _ = first.window_px
    smaller = replace(first, size_px=(CROP - 8, CROP - 8), window_px=(x0, y0, x0 + CROP - 8, y0 + CROP - 8))
    task, room = seg.build(classes=CLASSES), Room(Buffers(np.zeros), 2)
    for form in (png, quick_png):
        samples = [record([first, smaller], form(label()), row=row) for row in range(2)]
        with pytest.raises(SchemaMismatch, match=r"in a batch of .*; use batches of one"):
            task.batch_labels(samples, room)


def test_loss_is_the_mean_over_all_pixels_or_over_labelled_ones():
    torch.manual_seed(0)
    logits, values = torch.randn(2, CLASSES, 4, 4), torch.randint(0, CLASSES, (2, 32, 32), dtype=torch.uint8)
    values[:, :7] = 255
    batch = DeviceBatch(torch.zeros(2, 4, 4, 4), None, {"label": values})
    log_p = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=False).log_softmax(1)
    kept = values != 255
    total = -log_p.permute(0, 2, 3, 1)[kept].gather(1, values[kept].long()[:, None]).sum()
    torch.testing.assert_close(seg.build(classes=CLASSES).loss(logits, batch), total / values.numel())
    torch.testing.assert_close(seg.build(classes=CLASSES, average="valid").loss(logits, batch), total / kept.sum())
    nothing = DeviceBatch(torch.zeros(2, 4, 4, 4), None, {"label": torch.full_like(values, 255)})
    for average in ("all", "valid"):
        assert seg.build(classes=CLASSES, average=average).loss(logits, nothing).item() == 0


def test_lovasz_and_auxiliary_losses_are_added_with_their_weights():
    torch.manual_seed(0)
    main, auxiliary = torch.randn(2, CLASSES, 8, 8), torch.randn(2, CLASSES, 2, 2)
    values = torch.randint(0, CLASSES, (2, 32, 32), dtype=torch.uint8)
    values[:, :7] = 255
    batch = DeviceBatch(torch.zeros(2, 4, 4, 4), None, {"label": values})
    plain = seg.build(classes=CLASSES)
    enlarged = F.interpolate(main, (32, 32), mode="bilinear", align_corners=False)
    expected = plain.loss(main, batch) + 0.5 * lovasz_softmax(enlarged, values.long(), 255)
    expected = expected + 0.3 * plain.loss(auxiliary, batch)
    task = seg.build(classes=CLASSES, lovasz=0.5, auxiliary=0.3)
    torch.testing.assert_close(task.loss([main, auxiliary], batch), expected)
    torch.testing.assert_close(plain.loss([main], batch), plain.loss(main, batch))
    torch.testing.assert_close(
        seg.build(classes=CLASSES, auxiliary=0).loss([main, auxiliary], batch), plain.loss(main, batch)
    )


def test_the_head_is_named_or_vpds_and_takes_the_tasks_classes_and_dropout():
    spec = FeatureSpec(tuple(Level(f"f{i}", 16, 8 << i) for i in range(4)), tokens=5, context_width=32)
    task = seg.build(classes=7, dropout=0.25)
    assert isinstance(build_head(task, spec, channels=8), SemanticFpn)
    head = build_head(task, spec, name="upernet", channels=8, auxiliary_channels=4)
    assert isinstance(head, UPerNet)
    assert head.decode_head.conv_seg.out_channels == head.auxiliary_head.conv_seg.out_channels == 7
    assert head.decode_head.dropout.p == 0.25
    with pytest.raises(ConfigError, match="upernets"):
        build_head(task, spec, name="upernets")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("merge", ["probability", "logit"])
def test_perfect_windows_at_several_scales_score_1(flip, merge):
    """Each window predicts its own label; ratios are such that the grid has the picture's size or twice it."""
    views = segmentation_tiles.build(crop=CROP, stride=21, base=(WIDTH, HEIGHT), ratios=[1.0, 2.0], flip=flip).views(
        "img", HEIGHT, WIDTH
    )
    task = seg.build(classes=CLASSES, merge=merge)
    outputs = torch.stack([one_hot(cut_label(label(), view, fill=255)) for view in views])
    metric = task.new_metric()
    task.score(metric, record(views), outputs)
    assert metric.compute() == {"mIoU": 1.0, "aAcc": 1.0, "mAcc": 1.0}
    assert metric.count == 1
    assert int(metric.matrix.sum()) == (label() != 255).sum()


def test_scales_and_flips_are_averaged_as_probabilities_or_as_logits():
    """Against the whole computation at once, in float64 and without windows put in a few classes at a time."""
    views = tiles(ratios=[1.0, 1.5], flip=True)
    torch.manual_seed(1)
    outputs = torch.randn(len(views), 20, CROP // 8, CROP // 8) * 3
    probabilities, logits = [], []
    for resized, flip in dict.fromkeys((view.resized_px, view.flip) for view in views):
        total, cover = torch.zeros(20, *resized, dtype=torch.float64), torch.zeros(resized, dtype=torch.float64)
        for view, output in zip(views, outputs, strict=True):
            if (view.resized_px, view.flip) != (resized, flip):
                continue
            window = F.interpolate(output[None].double(), (CROP, CROP), mode="bilinear", align_corners=False)[0]
            x0, y0, x1, y1 = view.window_px
            total[:, y0:y1, x0:x1] += (window.flip(-1) if flip else window)[:, : y1 - y0, : x1 - x0]
            cover[y0:y1, x0:x1] += 1
        grid = F.interpolate((total / cover)[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=False)[0]
        logits.append(grid)
        probabilities.append(grid.softmax(0))
    for merge, parts in (("probability", probabilities), ("logit", logits)):
        found, part = seg.build(classes=20, merge=merge).picture(record(views), outputs)
        assert part == (slice(0, HEIGHT), slice(0, WIDTH))
        torch.testing.assert_close(found.double(), torch.stack(parts).mean(0), rtol=0, atol=1e-5)


def test_padding_of_a_narrow_picture_is_cut_off():
    views = segmentation_tiles.build(crop=CROP, stride=21, base=(64, CROP)).views("img", 10, 64)
    assert views[0].pad_px == (CROP - 10, 0)
    outputs = torch.zeros(len(views), CLASSES, CROP, CROP)
    outputs[:, 1, :10] = 1
    outputs[:, 2, 10:] = 9  # what the model says about padding
    found, _ = seg.build(classes=CLASSES).picture(record(views), outputs)
    assert found.shape == (CLASSES, 10, 64)
    assert (found.argmax(0) == 1).all()


def test_views_that_are_no_tiles_are_refused():
    views = segmentation.build(k=2, crop=CROP, base=(128, 64), category_limit=1).views("img", HEIGHT, WIDTH)
    with pytest.raises(ContractError, match="tiles"):
        seg.build(classes=CLASSES).picture(record(views), torch.zeros(2, CLASSES, 4, 4))
    with pytest.raises(ContractError, match=r"shows? the parts \[\]"):
        seg.build(classes=CLASSES).picture(record([]), torch.zeros(0, CLASSES, 4, 4))


def test_labels_that_do_not_fit_the_task_are_refused():
    task = seg.build(classes=2)
    with pytest.raises(SchemaMismatch, match=r"record img: label\.png holds the value 2; the task has 2 classes"):
        task.labels(record(tiles(), row=0))
    with pytest.raises(SchemaMismatch, match=r"view 9 was drawn, meta\['views'\] has"):
        task.labels(record(tiles(), row=9))
    with pytest.raises(SchemaMismatch, match=r"record img: label\.png holds the value 2"):
        task.labels(record(tiles(), quick_png(label()), row=0))
    with pytest.raises(CorruptShard, match="Pillow mode RGB"):
        task.labels(record(tiles(), png(np.zeros((4, 4, 3), np.uint8)), row=0))
    with pytest.raises(CorruptShard, match="cannot be read as PNG"):
        task.labels(record(tiles(), b"nothing", row=0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": 0}, "expected 1 to 255 classes"),
        ({"classes": 3, "ignore_index": 2}, "an ignore value that is none of them"),
        ({"average": "mean"}, "average 'mean' is unknown; choose one of all, valid"),
        ({"merge": "max"}, "merge 'max' is unknown"),
        ({"lovasz": -1.0}, "lovasz is -1.0 and auxiliary 0.4; both are weights"),
    ],
)
def test_impossible_options_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        seg.build(**options)


@pytest.mark.parametrize("classes", [2, 19, 27, 150])
def test_any_number_of_classes_trains(classes, make_unet):
    """One whole step: all classes are tokens, their maps widen two levels, and every parameter gets a gradient."""
    task, backbone = seg.build(classes=classes), make_unet()
    spec = backbone.spec(task.tokens(None))
    assert spec.widths == (32, 64 + classes, 128 + classes, 128)
    head = build_head(task, spec, rows=classes, channels=16)
    model = Perception(backbone, TextAdapter(64), head, class_embeddings=torch.randn(classes, 64)).train()
    settings = OptimConfig(preset="seg", lr=1e-2, weight_decay=0.0)
    optimizer = build_optimizer(named_groups(model, settings), settings)
    torch.manual_seed(0)
    values = torch.randint(0, classes, (2, 64, 64), dtype=torch.uint8)
    batch = DeviceBatch(torch.randn(2, 4, 8, 8), None, {"label": values})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    logits = model(batch.latents, task.context(batch), task.out_size_px(batch))
    assert logits.shape == (2, classes, 8, 8)
    loss = task.loss(logits, batch)
    assert loss.item() == pytest.approx(np.log(classes), rel=0.1)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert {"adapter.gamma", "head.decode_head.conv_seg.weight", "backbone.unet.conv_in.weight"} <= moved
    assert task.new_metric().matrix.shape == (classes, classes)


def test_a_class_table_of_another_length_is_refused(make_unet):
    with pytest.raises(ConfigError, match=r"the class table has 27 rows, the task 150 classes. Set task.classes=27"):
        build_head(seg.build(), make_unet().spec(150), rows=27)


def test_exports_hold_the_class_indices_and_pictures_their_colours(tmp_path):
    task, output = seg.build(classes=CLASSES), one_hot(label() % 255).numpy()
    task.export(output, tmp_path / "out.png")
    exported = Image.open(tmp_path / "out.png")
    assert exported.mode == "P"
    assert np.array_equal(np.array(exported), output.argmax(0))
    assert np.array_equal(np.array(exported.convert("RGB")), palette(CLASSES)[output.argmax(0)])
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    drawn = task.draw(image, output)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, 50 + palette(CLASSES)[output.argmax(0)] // 2)
    write_label_png(np.array([[0, 255]]), CLASSES, tmp_path / "ignored.png")
    assert np.array(Image.open(tmp_path / "ignored.png").convert("RGB"))[0, 1].tolist() == [0, 0, 0]


def test_colours_of_150_classes_differ_and_do_not_depend_on_their_number():
    assert len(np.unique(palette(150), axis=0)) == 150
    assert np.array_equal(palette(150)[:19], palette(19))
