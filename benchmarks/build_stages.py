"""What each stage of a build costs the CPU, beside the least it could cost: library calls and copies alone.

    python -m benchmarks.build_stages --json benchmarks/results/build_stages.json

One thread, CPU seconds, stages and limits in turns, medians over the rounds; a 640 x 480 JPEG with 3 masks and 7
sentences. The limits: libjpeg's decoding into Pillow's memory; Pillow's two passes of resizing; a copy of as many
bytes; sha256 and a copy of as many bytes. Whole builds, with threads, are `benchmarks.build`'s.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.build_world import FinishedText, JpegSource, SleepingVae
from pipeline.building.recipe import BuildSettings, schema_of
from pipeline.building.stages import EncodedExample, EncoderBatch, RenderedExample, batches_of, record_of, rendered
from pipeline.building.text_states import TextStates
from pipeline.encoders import Levels
from pipeline.rendering.geometry import render
from pipeline.views import exact
from shards.contract.schema import Record
from shards.writing.writer import write_shard

SENTENCES = 7
Stage = Callable[[], object]


class Rounds:
    """The same pictures through one stage after the other; every stage keeps what the next one needs."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder, self.settings = folder, BuildSettings(image_batch=16)
        self.source, self.plan = JpegSource(folder, images, SENTENCES), exact.build(512)
        self.vae, self.text = SleepingVae(0.0), FinishedText(self.settings.text_batch)
        self.schema = schema_of(self.source, self.plan, self.vae, self.text, self.settings)
        self.keys = self.source.keys("train")
        self.payloads = [(folder / f"{n}.jpg").read_bytes() for n in range(len(list(folder.glob("*.jpg"))))]
        self.examples = [self.source.load("train", key) for key in self.keys]
        self.views = self.plan.views("", 480, 640)
        self.rendered: list[RenderedExample] = []
        self.batches: list[EncoderBatch] = []
        self.records: list[Record] = []

    def stages(self) -> dict[str, tuple[Stage, str, Stage]]:
        """Stage -> (it, what its limit is, the limit)."""
        return {
            "load: open, decode, masks": (self.load, "libjpeg", self.libjpeg),
            "render: resize, array": (self.render, "Pillow's two passes", self.pillow),
            "batch: levels, tokens": (self.batch, "copy of the levels", self.copy_levels),
            "record: rows, states, checks": (self.record, "copy of the record", self.copy_record),
            "write: pack, tar, index, hashes": (self.write, "sha256 and copy", self.hash_record),
        }

    def load(self) -> None:
        for key in self.keys:
            self.source.load("train", key)

    def libjpeg(self) -> None:
        for number in range(len(self.keys)):
            Image.open(io.BytesIO(self.payloads[number % len(self.payloads)])).load()

    def render(self) -> None:
        for example in self.examples:
            render(example.picture, self.views[0])

    def pillow(self) -> None:
        for example in self.examples:
            assert isinstance(example.picture, Image.Image)
            rows = example.picture.resize((512, 480), Image.Resampling.BILINEAR)
            rows.resize((512, 512), Image.Resampling.BILINEAR)

    def prepare(self) -> None:
        """What a batch is made of; not measured."""
        found = [rendered(self.source, "train", self.plan, key) for key in self.keys]
        self.rendered = [example for example in found if isinstance(example, RenderedExample)]

    def batch(self) -> None:
        self.batches = list(batches_of(iter(self.rendered), self.vae, self.text, self.plan.size_px, self.settings))

    def copy_levels(self) -> None:
        for batch in self.batches:
            assert isinstance(batch.pixels, Levels)
            for row in batch.pixels.values[: batch.filled]:
                np.copyto(np.empty_like(row), row)

    def record(self) -> None:
        rows: deque[dict[str, np.ndarray]] = deque()
        self.records = []
        for batch in self.batches:
            assert isinstance(batch.pixels, Levels)
            latent = self.vae.encode_levels(batch.pixels)["latent"]
            rows.extend({"latent": row} for row in latent[: batch.filled])
        for example in self.rendered:
            states = TextStates(self.text, self.settings.text_batch)
            assert example.tokens is not None
            states.ask(example.tokens)
            states.flush()
            encoded = EncodedExample(example, [rows.popleft()], states)
            record = record_of(encoded, self.schema.key_characters)
            assert isinstance(record, Record)
            self.records.append(record)

    def copy_record(self) -> None:
        for record in self.records:
            for value in record.values.values():
                if isinstance(value, np.ndarray):
                    value.copy()

    def write(self) -> None:
        write_shard(self.folder, "bench", self.schema, iter(self.records))

    def hash_record(self) -> None:
        digest = hashlib.sha256()
        with (self.folder / "plain").open("wb") as file:
            for record in self.records:
                for value in record.values.values():
                    if isinstance(value, np.ndarray):
                        digest.update(value.data)
                        file.write(value.data)


def measure(images: int, rounds: int) -> dict[str, dict[str, float | str]]:
    """Stage -> milliseconds a picture, the limit's, its name, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        world = Rounds(Path(folder), images)
        stages = world.stages()
        spent: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in stages}
        for number in range(rounds + 1):
            world.prepare()
            for name, (stage, _, limit) in stages.items():
                for seconds, work in zip(spent[name], (stage, limit), strict=True):
                    start = time.process_time()
                    work()
                    if number:  # the first round warms up
                        seconds.append(time.process_time() - start)
    found: dict[str, dict[str, float | str]] = {}
    for name, (ours, least) in spent.items():
        ms, least_ms = (1e3 * statistics.median(seconds) / images for seconds in (ours, least))
        found[name] = {
            "ms": round(ms, 3),
            "limit": stages[name][1],
            "limit_ms": round(least_ms, 3),
            "ratio": round(ms / least_ms, 2),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    found = measure(options.images, options.rounds)
    for name, line in found.items():
        print(f"{name:34}{line['ms']:7.2f} ms   {line['limit']:22}{line['limit_ms']:7.2f} ms   x{line['ratio']}")
    total = sum(float(line["ms"]) for line in found.values())
    least = sum(float(line["limit_ms"]) for line in found.values())
    print(f"{'all':34}{total:7.2f} ms   {'':22}{least:7.2f} ms   x{total / least:.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
