"""The costs that `benchmarks.build_pace` plays with: measured here, or read from a file of an earlier run.

Owns their names and where they come from: medians of CPU milliseconds of `benchmarks.build_stages`, with what a whole
build spends beyond its stages added in proportion, and the sync of a shard.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.build import run_build
from benchmarks.build_stages import measure
from benchmarks.build_world import JpegSource, SleepingVae
from pipeline.building.recipe import BuildSettings

RECORD_BYTES = 460_000  # of a record with seven sentences
STAGES = {"decode": ("load", "render"), "batch": ("batch",), "write": ("record", "write")}  # as of `build_stages`


def costs_in(path: Path) -> dict[str, float]:
    """What `--json` wrote of costs. Ends in words where it is no such file."""
    try:
        costs = json.loads(path.read_text())["costs"]
        wanted = {"sync_ms", *(f"{stage}{kind}" for stage in STAGES for kind in ("_ms", "_locked_ms"))}
        absent = sorted(wanted - set(costs))
        if absent or not all(isinstance(costs[name], int | float) for name in wanted):
            raise SystemExit(
                f"--costs {path}: {', '.join(absent) or 'some cost'} is no number there; write it by --json"
            )
    except OSError as error:
        raise SystemExit(f"--costs {path}: cannot be read ({error.strerror}); --json FILE writes one") from None
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"--costs {path}: no file of costs, which --json FILE writes") from None
    return costs


def measured(images: int, rounds: int) -> dict[str, float]:
    """Milliseconds a picture costs here: in each stage, and how many of them are under Python's lock."""
    stages = measure(images, rounds)
    whole_ms = whole_build_ms(4 * images, rounds)
    in_stages_ms = sum(float(line["ms"]) for line in stages.values())
    more = max(1.0, whole_ms / in_stages_ms)
    found = {"stages_ms": in_stages_ms, "whole_ms": whole_ms, "sync_ms": 1e3 * sync_s(512 * RECORD_BYTES)}
    for stage, begins in STAGES.items():
        lines = [line for name, line in stages.items() if name.startswith(begins)]
        ms, free_ms = (more * sum(float(line[column]) for line in lines) for column in ("ms", "limit_ms"))
        found |= {f"{stage}_ms": ms, f"{stage}_locked_ms": max(ms - free_ms, 0.0)}
    return {name: round(value, 3) for name, value in found.items()}


def whole_build_ms(images: int, rounds: int) -> float:
    """CPU milliseconds a picture of builds with all their threads."""
    with tempfile.TemporaryDirectory() as folder:
        source = JpegSource(Path(folder), images, 7)
        settings = BuildSettings(records_per_shard=images // 2)
        spent = [run_build(source, SleepingVae(0.0), settings)[1] for _ in range(rounds)]
    return 1e3 * statistics.median(spent) / images


def sync_s(n_bytes: int) -> float:
    """Seconds until a file of a shard's size, just written, is on the disk: the median of three."""
    found = []
    for _ in range(3):
        with tempfile.TemporaryFile() as file:
            for _ in range(n_bytes >> 20):
                file.write(bytes(1 << 20))
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            found.append(time.perf_counter() - start)
    return statistics.median(found)
