"""How much longer does a build take, from JPEG on disk to shard on disk, than its image encoder alone?

    python benchmarks/build.py --vae sleep --sleep-ms 2.5     (seconds; an encoder that only sleeps)
    python benchmarks/build.py --vae full --images 4          (minutes on a CPU; SD 1.5's encoder with random weights)
    python benchmarks/build.py --vae full --device cuda --dtype float16 --images 2048

Each round runs both sides on the same images: "encoder", the image encoder on batches that are ready in memory, and
"build", everything (decode, resize, encode, text, tar, hashes, sync). They take turns; figures are medians over rounds
and the ratio of the two medians. Bar: at most 1.10. A fake text encoder gives finished states, so that their bytes are
written (0 sentences leaves them out), and costs nothing else: the ratio is about overlap, not about CLIP.

`sleep` shows whether decoding and writing hide behind an accelerator that leaves the CPU alone. They can only hide if
the cores can do the work in that time: the last line also gives CPU time per image, over all threads. A 640 x 480 JPEG
costs 3 ms to decode and resize on one idle core, sentence states about 2 ms to write
(docs/methods/performance.md#decoding). With too few cores for 2.5 ms, raise --sleep-ms until CPU time per image is
below it times the number of cores.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image

from pipeline.building.plan import plan_shards
from pipeline.building.recipe import BuildSettings
from pipeline.building.shard import build_shards
from pipeline.encoders import ImageEncoder
from pipeline.encoders.sd_vae.encoder import SdVae
from pipeline.example import Example, Source
from pipeline.rendering.geometry import render, to_pixels
from pipeline.views import exact
from shards.contract.schema import Field
from shards.geometry.view import Size

TOKENS, WIDTH = 40, 768
DISTINCT_JPEGS = 32


class JpegSource(Source):
    """`images` records over a few distinct photo-like 640 x 480 JPEGs on disk, each with its own sentences."""

    name = "benchmark"
    splits: Sequence[str] = ("train",)
    label_fields: tuple[Field, ...] = ()

    def __init__(self, folder: Path, images: int, sentences: int) -> None:
        self.folder, self.images, self.sentences = folder, images, sentences
        self.item_axis = "sentence" if sentences else "view"
        rng = np.random.default_rng(0)
        for number in range(DISTINCT_JPEGS):
            coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8)).resize(
                (640, 480), Image.Resampling.BICUBIC
            )
            noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (480, 640, 1))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)

    def keys(self, split: str) -> list[str]:
        return [f"{number:06d}" for number in range(self.images)]

    def load(self, split: str, key: str) -> Example:
        payload = (self.folder / f"{int(key) % DISTINCT_JPEGS}.jpg").read_bytes()
        image = np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))
        sentences = tuple(f"{key} {number}" for number in range(self.sentences))
        return Example(
            key, image, {"height": 480, "width": 640}, sentences, ((0, self.sentences),) if sentences else ()
        )

    def identity(self, split: str) -> dict[str, Any]:
        return {"name": self.name}

    def counts(self, split: str) -> dict[str, int]:
        return {"images": self.images, "sentences": self.images * self.sentences}

    def card(self) -> dict[str, Any]:
        return {"title": "benchmark"}


class SleepingVae:
    """Takes its time without touching the CPU, as a well fed GPU does."""

    fingerprint: dict[str, Any] = {"encoder": "sleep"}  # noqa: RUF012  (a constant of the protocol)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return (Field("latent", "npy", "float16", ("V", 4, size_px[0] // 8, size_px[1] // 8), "view"),)

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.seconds * len(pixels))
        return {"latent": np.zeros((len(pixels), 4, pixels.shape[2] // 8, pixels.shape[3] // 8), np.float16)}


class FinishedText:
    """States of the size of CLIP-L's, ready before they are asked for."""

    fingerprint: dict[str, Any] = {"encoder": "finished"}  # noqa: RUF012
    length, width = TOKENS, WIDTH

    def __init__(self, batch: int) -> None:
        self._states = np.random.default_rng(0).standard_normal((batch, TOKENS, WIDTH), np.float32)
        self._stored = self._states.astype(np.float16)

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        tokens = np.zeros((len(sentences), TOKENS), np.int32)
        tokens[:, :2] = [[int(word) for word in sentence.split()] for sentence in sentences]
        return tokens

    def cut(self, sentences: list[str]) -> int:
        return 0

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        return self._states

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        return self._stored

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        return self._states[:, 0]


def full_vae(device: str, dtype: str) -> SdVae:
    """SD 1.5's autoencoder, 34.2 M parameters in the encoder (docs/methods/vpd.md#components), random weights."""
    config: dict[str, Any] = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    return SdVae(AutoencoderKL(**config), dtype=dtype, device=torch.device(device), tf32=True, logvar=False)


def run_encoder(vae: ImageEncoder, batches: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for pixels in batches:
        vae.encode(pixels)
    return time.perf_counter() - start


def run_build(source: JpegSource, vae: ImageEncoder, settings: BuildSettings) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of building every shard into a fresh folder."""
    text = FinishedText(settings.text_batch) if source.sentences else None
    planned = plan_shards(source.keys("train"), settings.records_per_shard, "bench")
    with tempfile.TemporaryDirectory(dir=source.folder) as folder:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in build_shards(planned, source, "train", exact.build(512), vae, text, Path(folder), settings):
            pass
        return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", choices=("full", "sleep"), default="sleep")
    parser.add_argument("--sleep-ms", type=float, default=2.5, help="per image")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--sentences", type=int, default=7, help="per image; RefCOCO has 7.1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shard", type=int, default=256, help="records per shard")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--decode-threads", type=int, default=BuildSettings.decode_threads)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    settings = BuildSettings(
        records_per_shard=options.shard, image_batch=options.batch, decode_threads=options.decode_threads
    )
    vae = SleepingVae(options.sleep_ms / 1e3) if options.vae == "sleep" else full_vae(options.device, options.dtype)
    with tempfile.TemporaryDirectory() as folder:
        source = JpegSource(Path(folder), options.images, options.sentences)
        image = source.load("train", "000000").image
        shown = render(image, exact.build(512).views("", *image.shape[:2])[0])
        batch = to_pixels([shown] * options.batch, (512, 512), out=vae.allocate((options.batch, 3, 512, 512)))
        per_shard = [len(shard.keys) for shard in plan_shards(source.keys("train"), options.shard, "bench")]
        batches = [batch] * sum(-(-records // options.batch) for records in per_shard)
        vae.encode(batch)  # warm up
        rounds = []
        for number in range(options.rounds):
            bare_s = run_encoder(vae, batches)
            build_s, cpu_s = run_build(source, vae, settings)
            rounds.append((bare_s, build_s, cpu_s))
            print(f"round {number}: encoder {bare_s:.2f} s, build {build_s:.2f} s, CPU {cpu_s:.2f} s", flush=True)
    bare_s, build_s, cpu_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"{options.vae}, {options.images} images, {options.sentences} sentences each: encoder {bare_s:.2f} s, "
        f"build {build_s:.2f} s, {options.images / build_s:.1f} images/s, "
        f"CPU {1e3 * cpu_s / options.images:.1f} ms an image, "
        f"ratio {build_s / bare_s:.3f} (bar 1.10)"
    )


if __name__ == "__main__":
    main()
