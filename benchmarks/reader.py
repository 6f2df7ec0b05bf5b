"""How fast is the exact stream, in CPU seconds, against plain webdataset and against one memcpy of the same
bytes?

    python benchmarks/reader.py --samples 10240 --rounds 7

Payload per sample, about 95 KB: latent float16 [1, 4, 64, 64], text float16 [1, 40, 768], a 1-bit PNG mask,
JSON meta; batches of 32, shuffled, warm page cache, one process (payload and method of
docs/methods/performance.md#stream). The candidates take turns, a whole epoch each; figures are medians over
rounds of time.process_time, which counts all threads.

    memcpy            the physical limit: both tensors of every sample, copied into one reused batch, no more
    tensors           BatchStream in the caller's thread: what memcpy copies, every row and meta hashed
    tensors, threads  the same, read ahead by threads
    tensors, unhashed the same in the caller's thread of a set opened with verify=False
    ours              like "tensors", and the mask of every sample as bytes; meta not parsed
    ours + json       the same with every meta parsed
    ours, threads     like "ours", read ahead by threads as in training
    webdataset        .shuffle(1000).decode(), tensors stacked per batch, on the same tars, one thread
    webdataset, own   the same on tars from webdataset's own writer at its defaults, with the same records

"x webdataset" and "x own" divide the CPU time of the two last rows by that of the row, "of memcpy" divides memcpy's.
Rows are read by the compiled loop (`shards.native`) or by Python's, as the first line says.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from webdataset.compat import WebDataset
from webdataset.writer import ShardWriter

from shards import BatchStream, Field, Order, Record, Sample, Schema, ShardSet, seal_set, write_shard
from shards.native.library import reading_with

BATCH = 32
SHARD_RECORDS = 512
NAME = "bench"
FIELDS = ("latent", "text")
SCHEMA = Schema(
    (
        Field("latent", "npy", "float16", ("V", 4, 64, 64), "view", "raw posterior mean"),
        Field("text", "npy", "float16", ("S", 40, 768), "sentence", "last hidden state"),
        Field("mask", "png", unit="1 bit, 512 x 512"),
        Field("meta", "json"),
    ),
    item_axis="sentence",
)


def records(samples: int, seed: int = 0) -> Iterator[Record]:
    """Records of the payload; tensors repeat with a period of 61 and 67 records, meta never."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((61, 1, 4, 64, 64), np.float32).astype(np.float16)  # [61, V, 4, h, w]
    texts = rng.standard_normal((67, 1, 40, 768), np.float32).astype(np.float16)  # [67, S, L, D]
    masks = [_mask_png(rng) for _ in range(31)]
    for number in range(samples):
        meta = {
            "items": [[0, 1]],
            "image_id": number,
            "file_name": f"COCO_train2014_{number:012d}.jpg",
            "height": 480,
            "width": 640,
            "views": [{"size_px": [512, 512], "box_px": [0, 0, 640, 480], "flip": False}],
            "refs": [
                {
                    "ref_id": number,
                    "ann_id": number * 7,
                    "category_id": 1,
                    "split": "train",
                    "sent_ids": [number],
                }
            ],
            "sentences": [f"the person in the red shirt number {number}"],
        }
        values = {
            "latent": latents[number % 61],
            "text": texts[number % 67],
            "mask": masks[number % 31],
            "meta": meta,
        }
        yield Record(f"{number:09d}", values)


def _mask_png(rng: np.random.Generator) -> bytes:
    y, x = np.mgrid[:512, :512]
    cy, cx, ry, rx = rng.uniform(100, 400, 4)
    file = io.BytesIO()
    Image.fromarray(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1).save(file, "PNG")
    return file.getvalue()


def write_ours(root: Path, samples: int) -> None:
    """The payload as a shard set."""
    made, stream = [], records(samples)
    for shard in range(-(-samples // SHARD_RECORDS)):
        count = min(SHARD_RECORDS, samples - shard * SHARD_RECORDS)
        made.append(write_shard(root, f"{NAME}-{shard:06d}", SCHEMA, (next(stream) for _ in range(count))))
    recipe = {"source": "benchmarks/reader.py", "samples": samples}
    seal_set(root, name=NAME, split="train", recipe=recipe, schema=SCHEMA, shards=made)


def write_plain(root: Path, samples: int) -> None:
    """The payload through webdataset's ShardWriter at its defaults."""
    root.mkdir()
    with ShardWriter(str(root / f"{NAME}-%06d.tar"), maxcount=SHARD_RECORDS, verbose=0) as writer:
        for record in records(samples):
            members = {f"{field.name}.{field.codec}": record.values[field.name] for field in SCHEMA.fields}
            writer.write({"__key__": record.key, **members})


def run_tensors(shards: ShardSet, order: Order, threads: int) -> int:
    """One epoch of batches as torch tensors; returns the samples."""
    seen = 0
    with BatchStream(shards, order, batch_size=BATCH, stop=order.n_items, fields=FIELDS, threads=threads) as stream:
        for batch in stream:
            tensors = {name: torch.from_numpy(array) for name, array in batch.arrays.items()}
            seen += len(tensors["latent"])
    return seen


def run_ours(shards: ShardSet, order: Order, threads: int, json: bool) -> int:
    """One epoch of batches as torch tensors, with the mask bytes of every sample; returns the samples."""

    def labels(sample: Sample) -> dict[str, np.ndarray]:
        sample.payload("mask")
        if json:
            sample.meta["sentences"]
        return {}

    seen = 0
    with BatchStream(
        shards, order, batch_size=BATCH, stop=order.n_items, fields=FIELDS, labels=labels, threads=threads
    ) as stream:
        for batch in stream:
            tensors = {name: torch.from_numpy(array) for name, array in batch.arrays.items()}
            seen += len(tensors["latent"])
    return seen


def run_webdataset(tars: list[str]) -> int:
    """One shuffled epoch through plain webdataset; returns the samples seen."""

    def collate(samples: list[tuple[np.ndarray, np.ndarray, bytes, dict]]) -> tuple:
        latents, texts, masks, metas = zip(*samples, strict=True)
        return (
            torch.stack([*map(torch.from_numpy, latents)]),
            torch.stack([*map(torch.from_numpy, texts)]),
            masks,
            metas,
        )

    dataset = WebDataset(tars, shardshuffle=len(tars)).shuffle(1000).decode()
    members = dataset.to_tuple("latent.npy", "text.npy", "mask.png", "meta.json")
    batches: Any = members.batched(BATCH, collation_fn=collate)
    return sum(len(latents) for latents, _, _, _ in batches)


def memcpy_run(shards: ShardSet, order: Order) -> Callable[[], int]:
    """A run that copies both tensors of every sample, in a shuffled order, into one reused batch; all else is
    prepared.
    """
    index = shards.index
    root = Path(str(shards.folder))
    tars = [np.memmap(root / f"{shard.name}.tar", np.uint8, "r") for shard in shards.manifest.shards]
    tables = [index.fields[name] for name in FIELDS]
    items = order.items(0, order.n_items)
    sources = [
        tars[index.shard[item]][int(table.offset[item]) : int(table.offset[item] + table.length[item])]
        for item in items
        for table in tables
    ]
    batch = [np.empty(len(source), np.uint8) for source in sources[: BATCH * len(FIELDS)]]

    def run() -> int:
        for first in range(0, len(sources), len(batch)):
            for target, source in zip(batch, sources[first : first + len(batch)], strict=False):
                np.copyto(target, source)
        return len(items)

    return run


def measure(run: Callable[[], int], samples: int) -> tuple[float, float]:
    """(CPU, wall) microseconds per sample of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    seen = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if seen != samples:
        raise SystemExit(f"a reader delivered {seen} samples, expected {samples}")
    return cpu / samples * 1e6, wall / samples * 1e6


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--samples", type=int, default=10240, help="samples in an epoch; 95 KB each, twice")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each candidate after a warm-up")
    parser.add_argument("--threads", type=int, default=2, help="reading threads of the threaded row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="reader-bench-") as scratch:
        root = Path(scratch)
        write_ours(root / "ours", options.samples)
        write_plain(root / "plain", options.samples)
        compare(root, options.samples, options.rounds, options.threads)


def compare(root: Path, samples: int, rounds: int, threads: int) -> None:
    """Run all candidates in turn and print the table."""
    shards, unhashed = ShardSet.open(root / "ours"), ShardSet.open(root / "ours", verify=False)
    tars = {name: sorted(map(str, (root / name).glob("*.tar"))) for name in ("ours", "plain")}
    orders = iter([Order(shards.n_items, seed) for seed in range(1000)])
    candidates: dict[str, Callable[[], int]] = {
        "memcpy": memcpy_run(shards, next(orders)),
        "tensors": lambda: run_tensors(shards, next(orders), 0),
        "tensors, threads": lambda: run_tensors(shards, next(orders), threads),
        "tensors, unhashed": lambda: run_tensors(unhashed, next(orders), 0),
        "ours": lambda: run_ours(shards, next(orders), 0, json=False),
        "ours + json": lambda: run_ours(shards, next(orders), 0, json=True),
        "ours, threads": lambda: run_ours(shards, next(orders), threads, json=False),
        "webdataset": lambda: run_webdataset(tars["ours"]),
        "webdataset, own": lambda: run_webdataset(tars["plain"]),
    }
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            figure = measure(run, samples)
            if turn:
                figures[name].append(figure)
    cpu = {name: statistics.median(figure[0] for figure in rows) for name, rows in figures.items()}
    print(
        f"{samples} samples, {rounds} rounds, medians, rows read with {reading_with()}\n"
        f"{'':17}{'CPU us/sample':>14}{'samples/s':>11}{'x webdataset':>14}{'x own':>8}{'of memcpy':>11}"
    )
    for name, rows in figures.items():
        wall = statistics.median(figure[1] for figure in rows)
        against = [
            cpu["webdataset"] / cpu[name],
            cpu["webdataset, own"] / cpu[name],
            cpu["memcpy"] / cpu[name],
        ]
        ratios = f"{against[0]:14.1f}{against[1]:8.1f}{against[2]:11.2f}"
        print(f"{name:17}{cpu[name]:14.2f}{1e6 / wall:11.0f}{ratios}")


if __name__ == "__main__":
    main()
