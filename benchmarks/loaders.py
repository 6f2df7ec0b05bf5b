"""How many CPU seconds does a sample take with its labels, as training reads it, in the three published tasks?

    python -m benchmarks.loaders --samples 256 --rounds 7

Pictures have their published sizes: RefCOCO masks of 480 x 640 as COCO run lengths, squashed to 512 x 512; NYUv2 depth
of 480 x 640 in millimetres, a crop of 480 x 480; ADE20K labels of 512 x 683, resized by 0.5 to 2 and cropped to
512 x 512. Batches of 32, shuffled, warm page cache, every byte hashed, read in the caller's thread as `BatchStream`
does for training. The candidates take turns, a whole epoch each; figures are medians over rounds of
time.process_time.

    memcpy     one copy of what the batches hold in the end, no more
    tensors    latents and, for refer, sentences; no labels
    plain      with labels, every picture decoded at its full size and then cut
    ours       with labels, as the tasks make them
    quick      the same from a set of `settings.labels: quick`; refer has its masks in run lengths anyway

The last column is memcpy's time over the row's. What the labels of all rows are is compared first, value by value.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.reader import measure
from pipeline.building.label_forms import quick_labels
from shards import BatchStream, Field, Order, Record, Sample, Schema, ShardSet, seal_set, write_shard
from shards.geometry.view import View, cut_label, drawn_view
from shards.reading.labelling import BatchLabels, one_by_one
from vpd.tasks.depth.task import build as depth_task
from vpd.tasks.refer.task import build as refer_task
from vpd.tasks.seg.task import build as seg_task

BATCH = 32
SHARD_RECORDS = 128
CLASSES, IGNORE = 150, 255


def disc(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A wavy disc, bool [H, W]: about what an annotated outline looks like."""
    y, x = np.ogrid[:height, :width]
    angle = np.arctan2(y - (cy := rng.uniform(0.3, 0.7) * height), x - (cx := rng.uniform(0.3, 0.7) * width))
    wave = 1 + 0.2 * np.sin(5 * angle + rng.uniform(0, 6)) + 0.05 * np.sin(31 * angle)
    reach = rng.uniform(0.15, 0.35) * height
    return ((y - cy) / reach) ** 2 + ((x - cx) / reach / rng.uniform(0.6, 1.4)) ** 2 < wave


def refer_records(samples: int, rng: np.random.Generator) -> Iterator[Record]:
    """RefCOCO: two refs an image, three sentences each."""
    view = View((512, 512), (0, 0, 640, 480), (512, 512), (0, 0, 512, 512))
    texts = rng.standard_normal((7, 6, 40, 768), np.float32).astype(np.float16)  # [7, S, L, D]
    for number in range(samples // 2):
        refs = []
        for ref in range(2):
            rle: Any = coco_mask.encode(np.asfortranarray(disc(rng, 480, 640).astype(np.uint8)))
            sentences = [{"sent_id": number * 6 + ref * 3 + k, "sent": "the man in the red shirt"} for k in range(3)]
            coded = {"size": [480, 640], "counts": rle["counts"].decode()}
            refs.append({"ref_id": 2 * number + ref, "ann_id": number, "sentences": sentences, "rle": coded})
        meta = {"items": [[0, 3], [3, 3]], "height": 480, "width": 640, "views": [view.to_json()], "refs": refs}
        yield Record(f"{number:06d}", {"latent": latents(rng, 1), "text": texts[number % 7], "meta": meta})


def depth_records(samples: int, rng: np.random.Generator) -> Iterator[Record]:
    """NYUv2: a smooth room with sensor noise, four crops of it."""
    y, x = np.mgrid[:480, :640]
    for number in range(samples):
        room = 3000 + 1500 * np.sin(x / rng.uniform(80, 200)) + 900 * np.cos(y / rng.uniform(80, 200))
        depth = (room + 300 * disc(rng, 480, 640) + rng.normal(0, 2, (480, 640))).astype(np.uint16)
        views = [depth_view(int(rng.integers(0, 161)), flip=bool(k % 2)) for k in range(4)]
        meta = view_meta(views, height=480, width=640, class_id=3)
        yield Record(f"{number:06d}", {"latent": latents(rng, 4), "depth": png_of(depth), "meta": meta})


def depth_view(left: int, *, flip: bool) -> View:
    """480 x 480 pixels, padded to 512 x 512."""
    return View((512, 512), (left, 0, left + 480, 480), (480, 480), (0, 0, 480, 480), flip=flip, pad_px=(32, 32))


def seg_records(samples: int, rng: np.random.Generator) -> Iterator[Record]:
    """ADE20K: a dozen objects on a background, four augmented views."""
    for number in range(samples):
        label = np.full((512, 683), rng.integers(CLASSES), np.uint8)
        for _ in range(12):
            label[disc(rng, 512, 683)] = rng.choice([*rng.integers(CLASSES, size=8), IGNORE])
        meta = view_meta([seg_view(rng, flip=bool(k % 2)) for k in range(4)], height=512, width=683)
        yield Record(f"{number:06d}", {"latent": latents(rng, 4), "label": png_of(label), "meta": meta})


def seg_view(rng: np.random.Generator, *, flip: bool) -> View:
    """512 x 512 pixels of the picture at 0.5 to 2 times its size, padded where that is less."""
    height, width = (int(side * rng.uniform(0.5, 2)) for side in (512, 683))
    shown = min(height, 512), min(width, 512)
    top, left = int(rng.integers(height - shown[0] + 1)), int(rng.integers(width - shown[1] + 1))
    window = (left, top, left + shown[1], top + shown[0])
    padding = (512 - shown[0], 512 - shown[1])
    return View((512, 512), (0, 0, 683, 512), (height, width), window, flip=flip, pad_px=padding)


def view_meta(views: list[View], **facts: Any) -> dict[str, Any]:
    return {"items": [[0, len(views)]], "views": [view.to_json() for view in views], **facts}


def latents(rng: np.random.Generator, views: int) -> np.ndarray:
    return rng.standard_normal((views, 4, 64, 64), np.float32).astype(np.float16)  # [V, 4, h, w]


def png_of(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


LATENT = Field("latent", "npy", "float16", ("V", 4, 64, 64), "view", "raw posterior mean")
TEXT = Field("text", "npy", "float16", ("S", 40, 768), "sentence", "last hidden state")
META = Field("meta", "json")
SETS: dict[str, tuple[Schema, Callable[[int, np.random.Generator], Iterator[Record]]]] = {
    "refer": (Schema((LATENT, TEXT, META), "sentence"), refer_records),
    "depth": (Schema((LATENT, Field("depth", "png", unit="uint16, millimetres"), META), "view"), depth_records),
    "seg": (Schema((LATENT, Field("label", "png", unit="class index"), META), "view"), seg_records),
}


def write_set(root: Path, name: str, records: list[Record]) -> ShardSet:
    """A finished set of records of a task."""
    schema, made = SETS[name][0], []
    for first in range(0, len(records), SHARD_RECORDS):
        part = records[first : first + SHARD_RECORDS]
        made.append(write_shard(root / name, f"{name}-{first:06d}", schema, part))
    recipe = {"source": "benchmarks/loaders.py", "samples": len(records)}
    seal_set(root / name, name=name, split="train", recipe=recipe, schema=schema, shards=made)
    return ShardSet.open(root / name)


def plain_refer(sample: Sample) -> dict[str, np.ndarray]:
    rle = sample.meta["refs"][sample.item]["rle"]
    full = coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    return {"mask": cut_label(full, View.from_json(sample.meta["views"][0]))}


def plain_depth(sample: Sample) -> dict[str, np.ndarray]:
    with Image.open(io.BytesIO(sample.payload("depth"))) as picture:
        full = np.asarray(picture).astype(np.uint16)
    view = drawn_view(sample)
    height, width = view.content_px
    cut = cut_label(full, view)[:height, :width]
    return {"depth": cut.astype(np.float32) / np.float32(1000), "class_id": np.array(sample.meta["class_id"], np.int64)}


def plain_seg(sample: Sample) -> dict[str, np.ndarray]:
    with Image.open(io.BytesIO(sample.payload("label"))) as picture:
        full = np.asarray(picture)
    return {"label": cut_label(full, drawn_view(sample), fill=IGNORE)}


TASKS: dict[str, tuple[BatchLabels, BatchLabels]] = {
    "refer": (refer_task().batch_labels, one_by_one(plain_refer)),
    "depth": (depth_task().batch_labels, one_by_one(plain_depth)),
    "seg": (seg_task(CLASSES).batch_labels, one_by_one(plain_seg)),
}


def run(
    shards: ShardSet, order: Order, labels: BatchLabels | None, check: list[dict[str, np.ndarray]] | None = None
) -> int:
    """One epoch; returns the samples. `check` is given a copy of every batch."""
    fields = [name for name in ("latent", "text") if name in {field.name for field in shards.schema.fields}]
    seen = 0
    with BatchStream(
        shards, order, batch_size=BATCH, stop=order.n_items, fields=fields, batch_labels=labels, threads=0
    ) as stream:
        for batch in stream:
            seen += len(batch)
            if check is not None:
                check.append({name: array.copy() for name, array in batch.arrays.items()})
    return seen


def memcpy_run(batches: list[dict[str, np.ndarray]]) -> Callable[[], int]:
    """Copies of the rows of these batches into one reused batch."""
    target = {name: np.empty_like(array) for name, array in batches[0].items()}
    copies = [
        (target[name][place], array[place, ...])
        for batch in batches
        for name, array in batch.items()
        if array.ndim > 1
        for place in range(len(array))
    ]

    def run() -> int:
        for into, row in copies:
            np.copyto(into, row)
        return sum(len(batch["latent"]) for batch in batches)

    return run


def compare(shards: ShardSet, quick: ShardSet | None, name: str, rounds: int) -> None:
    """Check that all labels are equal, run all candidates in turn and print the table."""
    ours, plain = TASKS[name]
    delivered: list[dict[str, np.ndarray]] = []
    run(shards, Order(shards.n_items, 0), plain, delivered)
    for one in (shards, quick):
        made: list[dict[str, np.ndarray]] = []
        if one is not None:
            run(one, Order(shards.n_items, 0), ours, made)
        for found, wanted in zip(made, delivered, strict=one is not None):
            for field, array in wanted.items():
                np.testing.assert_array_equal(found[field], array)
    orders = iter([Order(shards.n_items, seed) for seed in range(10000)])
    candidates: dict[str, Callable[[], int]] = {
        "memcpy": memcpy_run(delivered),
        "tensors": lambda: run(shards, next(orders), None),
        "plain": lambda: run(shards, next(orders), plain),
        "ours": lambda: run(shards, next(orders), ours),
    }
    if quick is not None:
        candidates["quick"] = lambda: run(quick, next(orders), ours)
    figures: dict[str, list[float]] = {candidate: [] for candidate in candidates}
    for turn in range(rounds + 1):
        for candidate, once in candidates.items():
            cpu_us, _ = measure(once, shards.n_items)
            if turn:
                figures[candidate].append(cpu_us)
    median = {candidate: statistics.median(rows) for candidate, rows in figures.items()}
    row_bytes = sum(array[0].nbytes for array in delivered[0].values())
    print(f"{name}: {row_bytes / 1e3:.0f} kB a sample, CPU us (least of the rounds)")
    for candidate, rows in figures.items():
        print(f"  {candidate:8}{median[candidate]:9.1f} ({min(rows):.1f}){median['memcpy'] / median[candidate]:7.2f}")


def label_kb(records: list[Record]) -> str:
    """Least and largest of the PNGs."""
    sizes = [len(value) / 1e3 for one in records for value in one.values.values() if isinstance(value, bytes)]
    return f"{min(sizes):.0f} to {max(sizes):.0f}"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--samples", type=int, default=256, help="samples in an epoch")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each candidate after a warm-up")
    parser.add_argument("--tasks", nargs="+", default=list(SETS), choices=list(SETS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loaders-bench-") as scratch:
        for name in options.tasks:
            records = list(SETS[name][1](options.samples, np.random.default_rng(0)))
            shards, quick = write_set(Path(scratch) / "small", name, records), None
            if name != "refer":
                small, records = records, [Record(one.key, quick_labels(one.values)) for one in records]
                print(f"{name}: a label has {label_kb(small)} kB, quick {label_kb(records)}")
                quick = write_set(Path(scratch) / "quick", name, records)
            compare(shards, quick, name, options.rounds)


if __name__ == "__main__":
    main()
