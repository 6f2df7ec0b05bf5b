"""How much longer does a build take, from JPEG on disk to shard on disk, than its image encoder alone?

    python -m benchmarks.build                                          (seconds; an encoder that only sleeps, 2.5 ms)
    python -m benchmarks.build --decode-ms 6 --decode-threads 4         (decoding sleeps, too: as if there were cores)
    python -m benchmarks.build --vae full --images 4                    (minutes on a CPU; SD 1.5's with random weights)
    python -m benchmarks.build --vae full --device cuda --dtype float16 --images 2048
    python -m benchmarks.build --against ../main                        (CPU time beside another checkout's)

Each round runs both sides on the same images: "encoder", the image encoder on batches that are ready in memory, and
"build", everything (decode, masks, resize, encode, text, tar, hashes, sync). They take turns; figures are medians over
rounds and the ratio of the two medians. A fake text encoder gives finished states, so that their bytes are written (0
sentences leaves them out), and costs nothing else: the ratio is about overlap, not about CLIP.

`sleep` shows whether decoding and writing hide behind an accelerator that leaves the CPU alone. They can only hide if
the cores can do the work in that time: the last line also gives CPU time per image, over all threads. With too few
cores for 2.5 ms, raise --sleep-ms until CPU time per image is below it times the number of cores, or let decoding sleep
as long as it would take on a core of its own. Bars: at most 1.05 times the encoder, 7 ms of CPU an image
(docs/methods/performance.md#building). `benchmarks.build_stages` shows each stage beside its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from benchmarks.build_world import FinishedText, JpegSource, SleepingSource, SleepingVae
from pipeline.building.plan import plan_shards
from pipeline.building.recipe import BuildSettings
from pipeline.building.shard import build_shards
from pipeline.encoders import LevelEncoder, Levels
from pipeline.encoders.sd_vae.encoder import SdVae
from pipeline.rendering.geometry import render
from pipeline.views import exact


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


def run_encoder(vae: LevelEncoder, batch: Levels, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        vae.encode_levels(batch)
    return time.perf_counter() - start


def run_build(source: JpegSource, vae: LevelEncoder, settings: BuildSettings) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of building every shard into a fresh folder."""
    text = FinishedText(settings.text_batch) if source.sentences else None
    planned = plan_shards(source.keys("train"), settings.records_per_shard, "bench")
    with tempfile.TemporaryDirectory(dir=source.folder) as folder:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in build_shards(planned, source, "train", exact.build(512), vae, text, Path(folder), settings):
            pass
        return time.perf_counter() - start, time.process_time() - cpu


def cpu_ms(checkout: Path, options: argparse.Namespace) -> float:
    """CPU milliseconds an image, the median of five builds of that checkout's benchmark."""
    words = ["--rounds", "5", "--images", str(options.images), "--sentences", str(options.sentences)]
    command = [sys.executable, "-m", "benchmarks.build", *words]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"CPU ([\d.]+) ms an image", done.stdout)
    assert found, done.stdout
    return float(found[1])


def compare(options: argparse.Namespace) -> dict[str, float]:
    """CPU milliseconds an image here and in the other checkout, in turns."""
    sides = {"here": Path(__file__).resolve().parent.parent, "there": options.against.resolve()}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, checkout in sides.items():
            spent[name].append(cpu_ms(checkout, options))
        print(", ".join(f"{name} {times[-1]:.1f} ms" for name, times in spent.items()), flush=True)
    here, there = (statistics.median(times) for times in spent.values())
    least = min(spent["here"]) / min(spent["there"])
    print(f"CPU an image: here {here:.2f} ms, there {there:.2f} ms, ratio {here / there:.3f}, of the least {least:.3f}")
    return {"here_ms": here, "there_ms": there, "ratio": here / there, "ratio_of_least": least}


def pace(options: argparse.Namespace) -> dict[str, float]:
    """Builds beside their encoder."""
    settings = BuildSettings(
        records_per_shard=options.shard, image_batch=options.batch, decode_threads=options.decode_threads
    )
    vae = SleepingVae(options.sleep_ms / 1e3) if options.vae == "sleep" else full_vae(options.device, options.dtype)
    with tempfile.TemporaryDirectory() as folder:
        source = JpegSource(Path(folder), options.images, options.sentences)
        if options.decode_ms:
            source = SleepingSource(Path(folder), options.images, options.sentences, options.decode_ms / 1e3)
        picture = source.load("train", "000000").picture
        shown = render(picture, exact.build(512).views("", 480, 640)[0]) if not options.decode_ms else picture
        batch = Levels(vae.allocate_levels((options.batch, 512, 512, 3)), [(0, 0, 512, 512)] * options.batch)
        batch.values[:] = shown
        per_shard = [len(shard.keys) for shard in plan_shards(source.keys("train"), options.shard, "bench")]
        times = sum(-(-records // options.batch) for records in per_shard)
        vae.encode_levels(batch)  # warm up
        rounds = []
        for number in range(options.rounds):
            bare_s = run_encoder(vae, batch, times)
            build_s, cpu_s = run_build(source, vae, settings)
            rounds.append((bare_s, build_s, cpu_s))
            print(f"round {number}: encoder {bare_s:.2f} s, build {build_s:.2f} s, CPU {cpu_s:.2f} s", flush=True)
    bare_s, build_s, cpu_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    cpu = 1e3 * cpu_s / options.images
    print(
        f"{options.vae}, {options.images} images, {options.sentences} sentences each: encoder {bare_s:.2f} s, "
        f"build {build_s:.2f} s, {options.images / build_s:.1f} images/s, CPU {cpu:.1f} ms an image, "
        f"ratio {build_s / bare_s:.3f}, encoder busy {bare_s / build_s:.1%}"
    )
    return {"encoder_s": bare_s, "build_s": build_s, "cpu_ms": cpu, "ratio": build_s / bare_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", choices=("full", "sleep"), default="sleep")
    parser.add_argument("--sleep-ms", type=float, default=2.5, help="of the sleeping encoder, per image")
    parser.add_argument("--decode-ms", type=float, default=0, help="sleep so long instead of decoding and resizing")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--sentences", type=int, default=7, help="per image; RefCOCO has 7.1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shard", type=int, default=256, help="records per shard")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--decode-threads", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--against", type=Path, help="another checkout: compare CPU time, and nothing else")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    found = compare(options) if options.against else pace(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
