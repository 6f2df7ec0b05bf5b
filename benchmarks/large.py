"""How long until the first batch, and how much memory, at any number of records.

    python -m benchmarks.large --records 1000 100000 10000000
    python -m benchmarks.large --shard-records 10000 --orders window --records 10000000

Sets are synthetic: one shard is written, and every other is another name of its two files. So a set of 10^7 records
takes minutes to describe and megabytes of disk, and what a reader opens, hashes and holds is what it would be; only the
page cache is kinder than that of a set of its own bytes. Each figure is of a fresh process, the median of `--rounds`;
in a round all sizes and orders take turns, so that what others do on the machine is the same for each:

    start      from the start of the process to the first batch: what a user waits, importing included
    cpu        processor seconds of the same
    open       ShardSet.open alone
    first      from ShardSet.open to the first batch; first_cpu in processor seconds, which other programs lengthen less
    resume     both at a position in the middle of the fourth epoch
    anon       anonymous memory after `--batches` batches; MB a rank, beside that after importing (`import`)
    us         processor microseconds a sample, of the batches after the first
    times      processor seconds of a first batch and of a resume, as a multiple of the first size's

Figures of a run: docs/methods/shards.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shards.contract.manifest import Manifest, fingerprint, version_for
from shards.contract.schema import Field, Record, Schema
from shards.writing.writer import write_shard

LINKS = 50_000  # names that one file may have, on common file systems
SCHEMA = Schema(
    (
        Field("latent", "npy", "float16", ("V", 4, 2, 2), "view"),
        Field("tokens", "npy", "int32", ("S", 8), "sentence"),
        Field("meta", "json"),
    ),
    item_axis="sentence",
)
BATCH = 32


def write_synthetic(root: Path, records: int, shard_records: int) -> None:
    """A set of so many records, in shards that are one shard under many names."""
    shard_records = min(shard_records, records)
    count = records // shard_records
    root.mkdir(parents=True)
    made = []
    for number in range(count):
        name = f"large-{number:07d}"
        if number % LINKS == 0:
            first = write_shard(root, name, SCHEMA, map(_record, range(shard_records)))
        else:
            for ending in ("tar", "idx"):
                (root / f"{name}.{ending}").hardlink_to(root / f"{first.name}.{ending}")
        made.append(type(first)(**{**first.to_json(), "name": name}))
    counts = {"records": count * shard_records, "items": count * first.items, "rejects": 0}
    counts |= {"view": count * shard_records, "sentence": count * sum(_sentences(n) for n in range(shard_records))}
    recipe = {"source": "benchmarks/large.py", "records": records}
    manifest = Manifest("large", "train", recipe, fingerprint(recipe), SCHEMA, tuple(made), counts)
    replace(manifest, version=version_for(count)).write(root)


def _sentences(number: int) -> int:
    return 1 + number % 5


def _record(number: int) -> Record:
    rows = _sentences(number)
    meta = {"items": [[0, rows]], "file_name": f"COCO_train2014_{number:012d}.jpg", "sentences": ["a sentence"] * rows}
    values = {
        "latent": np.full((1, 4, 2, 2), number % 2048, np.float16),
        "tokens": np.full((rows, 8), number, np.int32),
    }
    return Record(f"{number:012d}", values | {"meta": meta})


CHILD = """
import sys, time
from pathlib import Path
root, window, position, batches, size = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:])
from shards import BatchStream, ShardSet
from shards.reading.order import order_of

def anonymous_mb():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) / 1024

imported, began, cpu_began = anonymous_mb(), time.perf_counter(), time.process_time()
shards = ShardSet.open(root)
opened = time.perf_counter() - began
order = order_of(shards, seed=1, window_shards=window)
at = int(position * order.n_items) // size * size
with BatchStream(shards, order, batch_size=size, position=at, fields=("latent", "tokens"), threads=0) as stream:
    batch = next(stream)
    first, cpu = time.perf_counter() - began, time.process_time()
    print(time.time(), cpu, opened, first, cpu - cpu_began, imported, flush=True)
    for _ in range(batches):
        next(stream)
print(anonymous_mb(), (time.process_time() - cpu) / max(1, batches * size) * 1e6)
"""


def run_once(root: Path, window: int, position: float, batches: int) -> dict[str, float]:
    """The figures of one fresh process."""
    began = time.time()
    arguments = [str(root), str(window), str(position), str(batches), str(BATCH)]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    at, cpu, opened, first, first_cpu, imported, anon, per_sample = map(float, done.stdout.split())
    return {
        "start_s": at - began, "cpu_s": cpu, "open_s": opened, "first_s": first, "first_cpu_s": first_cpu,
        "import_mb": imported, "anon_mb": anon, "cpu_us_a_sample": per_sample,
    }  # fmt: skip


def measure(root: Path, window: int, batches: int) -> dict[str, float]:
    """The figures of a fresh process, and those of a resume of another."""
    found, resumed = run_once(root, window, 0, batches), run_once(root, window, 3.5, 0)
    names = {"first_s": "resume_s", "first_cpu_s": "resume_cpu_s", "start_s": "resume_start_s"}
    return found | {name: resumed[of] for of, name in names.items()}


def compared(rows: list[dict[str, Any]]) -> None:
    """Say of every row how many times the processor time of the first of its order it takes."""
    for row in rows:
        least = next(one for one in rows if one["order"] == row["order"])
        for name in ("first", "resume"):
            row[f"{name}_times"] = row[f"{name}_cpu_s"] / least[f"{name}_cpu_s"]


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 100_000, 10_000_000], help="sizes of sets")
    parser.add_argument("--shard-records", type=int, default=1000, help="records of a shard")
    parser.add_argument("--orders", nargs="+", choices=("global", "window"), default=["global", "window"])
    parser.add_argument("--window", type=int, default=8, help="shards of a windowed order")
    parser.add_argument("--batches", type=int, default=200, help="batches of 32 read after the first")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each figure")
    parser.add_argument("--scratch", type=Path, default=None, help="where the sets are written; default: temporary")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    options = parser.parse_args()
    cases = [(records, order) for records in options.records for order in options.orders]
    found: dict[tuple[int, str], list[dict[str, float]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="large-bench-", dir=options.scratch) as scratch:
        for records in dict.fromkeys(options.records):
            write_synthetic(Path(scratch) / str(records), records, options.shard_records)
        for _ in range(options.rounds):
            for (records, order), figures in found.items():
                window = options.window if order == "window" and records > options.shard_records else 0
                figures.append(measure(Path(scratch) / str(records), window, options.batches))
    rows: list[dict[str, Any]] = [
        {"records": records, "order": order}
        | {name: statistics.median(one[name] for one in figures) for name in figures[0]}
        for (records, order), figures in found.items()
    ]
    compared(rows)
    for row in rows:
        print("  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in row.items()))  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps({"shard_records": options.shard_records, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
